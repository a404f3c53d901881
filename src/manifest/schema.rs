//! The JSON Schema of manifests, for editors.
//!
//! Apart because it is output; its content comes from the tables.

use schemars::generate::SchemaSettings;

use super::tables::FleetTable;

/// The schema (JSON Schema, draft 2020-12) of a manifest. It accepts everything that `check` accepts; what depends on more than one key, or
/// on the machine, it does not know.
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<FleetTable>();
    schema.insert("title".to_owned(), "Phoenix fleet".into());
    schema.to_value()
}

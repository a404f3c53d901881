//! `table!`: one row per key of an object, from which come the type, the reader, the list of known keys and the JSON Schema.
//!
//! Apart because it is the reason why these four cannot differ: a key is written down once. Not here: the tables.

/// Defines an object of the manifest. A row is
/// `/// What it means.` `"key" required|optional field: Type [= default];`
macro_rules! table {
    (
        $(#[doc = $table_doc:literal])*
        struct $table:ident {
            $(
                $(#[doc = $doc:literal])*
                $key:literal $need:ident $field:ident : $kind:ty $(= $default:expr)?;
            )*
        }
    ) => {
        $(#[doc = $table_doc])*
        #[derive(Clone, Debug, Default)]
        #[allow(dead_code, reason = "`$schema` is for editors alone")]
        pub(in crate::manifest) struct $table {
            $( $(#[doc = $doc])* pub(in crate::manifest) $field: $crate::manifest::read::Key<$kind>, )*
        }

        impl $table {
            /// Every key, in the order of the table.
            pub(in crate::manifest) const KEYS: &'static [$crate::manifest::read::KeyRow] = &[
                $( $crate::manifest::read::KeyRow { name: $key, required: $crate::manifest::table::required!($need) }, )*
            ];
        }

        impl $crate::manifest::read::Read for $table {
            fn read(
                value: &jsonc_parser::ast::Value<'_>,
                label: &str,
                found: &mut $crate::manifest::source::Findings,
            ) -> Option<Self> {
                let fields = $crate::manifest::read::Fields::new(value, label, Self::KEYS, found)?;
                Some(Self { $( $field: fields.take($key, found), )* })
            }
        }

        impl schemars::JsonSchema for $table {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($table).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                $({
                    let default: Option<serde_json::Value> = $crate::manifest::table::default!($($default)?);
                    let schema = generator.subschema_for::<$kind>();
                    let described = $crate::manifest::table::described(schema, concat!($($doc,)* ""), default);
                    properties.insert($key.to_owned(), described);
                })*
                let required: Vec<&str> = Self::KEYS.iter().filter(|row| row.required).map(|row| row.name).collect();
                schemars::json_schema!({
                    "type": "object",
                    "description": concat!($($table_doc,)* "").trim(),
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
}

macro_rules! required {
    (required) => {
        true
    };
    (optional) => {
        false
    };
}

macro_rules! default {
    () => {
        None
    };
    ($default:expr) => {
        Some(serde_json::json!($default))
    };
}

pub(super) use {default, required, table};

/// A schema with the words and the default of one key.
pub(super) fn described(schema: schemars::Schema, doc: &str, default: Option<serde_json::Value>) -> serde_json::Value {
    let mut schema = schema;
    schema.insert("description".to_owned(), doc.trim().into());
    if let Some(default) = default {
        schema.insert("default".to_owned(), default);
    }
    schema.to_value()
}

//! Values with a short and a long form: scripts, features, environment variables, devices.
//!
//! Apart from the tables because a text or an object may stand here, and both come to the same.

use std::borrow::Cow;

use jsonc_parser::ast::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::proxmox::DevicePath;
use super::read::{Key, Read, read_at, wrong_type};
use super::source::Findings;
use super::spec::EnvValue;
use super::tables::{DeviceTable, FeatureTable, ScriptTable, SecretTable};
use super::value::{AnyPath, Text};

/// A script: its file alone, or with what goes with it.
#[derive(Clone, Debug)]
pub(super) struct ScriptEntry(pub(super) ScriptTable);

/// A feature: its file alone, or with what goes with it.
#[derive(Clone, Debug)]
pub(super) struct FeatureEntry(pub(super) FeatureTable);

/// A device: its path alone, or with what goes with it.
#[derive(Clone, Debug)]
pub(super) struct DeviceEntry(pub(super) DeviceTable);

/// The value of an environment variable.
#[derive(Clone, Debug)]
pub(super) struct EnvEntry(pub(super) EnvValue);

/// A key whose short form is one of its texts alone.
macro_rules! text_or_table {
    ($($entry:ident, $table:ident, $name:literal, $short:ident: $text:ty, $wanted:literal, $remedy:literal { $($absent:ident),* };)*) => {
        $(
            impl Read for $entry {
                fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
                    match value {
                        Value::StringLit(_) => {
                            let $short = read_at(value, label, found).map_or(Key::Bad, Key::Given);
                            Some(Self($table { $short, $($absent: Key::Absent),* }))
                        }
                        Value::Object(_) => $table::read(value, label, found).map(Self),
                        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) | Value::NullKeyword(_) => {
                            wrong_type(value, label, $wanted, $remedy, found);
                            None
                        }
                    }
                }
            }

            impl JsonSchema for $entry {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }

                fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "anyOf": [generator.subschema_for::<$text>(), generator.subschema_for::<$table>()] })
                }
            }
        )*
    };
}

text_or_table! {
    ScriptEntry, ScriptTable, "script", script: AnyPath, "the path of a script or an object",
        "write \"features/base.sh\" or { \"script\": \"features/base.sh\" }" { env, args, timeout, retries, on_interrupt };
    FeatureEntry, FeatureTable, "feature", script: AnyPath, "the path of a script or an object",
        "write \"features/base.sh\" or { \"script\": \"features/base.sh\" }" { name, env, args, timeout, retries, on_interrupt };
    DeviceEntry, DeviceTable, "device", path: DevicePath, "the path of a device or an object",
        "write \"/dev/dri/renderD128\" or { \"path\": \"/dev/dri/renderD128\", \"gid\": 104 }" { uid, gid, mode, deny_write };
}

impl Read for EnvEntry {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        match value {
            Value::StringLit(_) => Text::read(value, label, found).map(|text| Self(EnvValue::Plain(text.0))),
            Value::Object(_) => secret(value, label, found).map(Self),
            Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) | Value::NullKeyword(_) => {
                let remedy = match value {
                    Value::NumberLit(number) => format!("write \"{}\"", super::read::brief(number.value)),
                    Value::BooleanLit(boolean) => format!("write \"{}\"", boolean.value),
                    Value::StringLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
                        "write \"text\", { \"secret_file\": \"/root/secret\" } or { \"secret_env\": \"NAME\" }".to_owned()
                    }
                };
                wrong_type(value, label, "a text or a secret", &remedy, found);
                None
            }
        }
    }
}

fn secret(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<EnvValue> {
    let SecretTable { secret_file, secret_env } = SecretTable::read(value, label, found)?;
    match (secret_file, secret_env) {
        (Key::Given(file), Key::Absent) => {
            let normal = file.value.0.is_absolute() && file.value.0.components().all(|part| part != std::path::Component::ParentDir);
            if !normal {
                let what = format!("the secret file \"{}\" is not an absolute path without `..`", file.value.0.display());
                found.problem(&file.span, what, "write the whole path, such as \"/root/secret\"");
            }
            normal.then_some(EnvValue::SecretFile(file.value.0))
        }
        (Key::Absent, Key::Given(variable)) => Some(EnvValue::SecretEnv(variable.value.0)),
        (Key::Bad, _) | (_, Key::Bad) => None,
        (Key::Absent, Key::Absent) | (Key::Given(_), Key::Given(_)) => {
            found.problem(
                &super::json::span(value),
                format!("{label} must have one of `secret_file` and `secret_env`"),
                "write the one that holds the value",
            );
            None
        }
    }
}

impl JsonSchema for EnvEntry {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "value of a variable".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<Text>(), generator.subschema_for::<SecretTable>()] })
    }
}

//! The few fields of a declaration that a status shows, read without the rest.
//!
//! Apart from the documents because it reads past what it does not need: a status of ten thousand containers cannot afford to
//! build ten thousand specs. Nothing is decided by what is read here, so nothing strange in the rest has to be refused; whoever
//! acts on a declaration reads all of it.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::ids::{Ctid, FleetName, Hostname};

/// What a status shows of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    /// The fleet.
    pub fleet: FleetName,
    /// The host name.
    pub hostname: Hostname,
    /// The containers that must be done first.
    pub depends_on: BTreeSet<Ctid>,
    /// The container that it is a copy of.
    pub clone_of: Option<Ctid>,
}

impl Headline {
    /// Reads the payload of a declaration; the error says what could not be read.
    pub fn read(payload: &str) -> Result<Self, String> {
        let sheet: Sheet<'_> = serde_json::from_str(payload).map_err(|error| error.to_string())?;
        let Declaration { fleet, spec } = sheet.record.declaration;
        let number = |number: u32| Ctid::new(number).map_err(|error| error.to_string());
        Ok(Self {
            fleet: fleet.parse().map_err(|error: crate::ids::NameError| error.to_string())?,
            hostname: spec.hostname.parse().map_err(|error: crate::ids::NameError| error.to_string())?,
            depends_on: spec.depends_on.into_iter().map(number).collect::<Result<_, _>>()?,
            clone_of: spec.origin.clone.map(|clone| number(clone.source)).transpose()?,
        })
    }
}

#[derive(Deserialize)]
struct Sheet<'a> {
    #[serde(borrow)]
    record: Record<'a>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    declaration: Declaration<'a>,
}

#[derive(Deserialize)]
struct Declaration<'a> {
    fleet: &'a str,
    #[serde(borrow)]
    spec: Spec<'a>,
}

#[derive(Deserialize)]
struct Spec<'a> {
    hostname: &'a str,
    origin: Origin,
    depends_on: Vec<u32>,
}

#[derive(Deserialize)]
struct Origin {
    #[serde(default)]
    clone: Option<Clone>,
}

#[derive(Deserialize)]
struct Clone {
    source: u32,
}

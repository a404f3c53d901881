//! The resource pools of `/etc/pve/user.cfg`, and putting a container into its own.
//!
//! Apart because a pool is nothing of a container's configuration: `pct create` puts the container there last of all, when
//! nothing of it is taken back any more, so that a container can be whole and in no pool. Not here: whether a pool exists before
//! anything is begun (`vet`).

use std::collections::BTreeSet;

use crate::host::local::act::{Act, Taken, chain, failed};
use crate::ids::Ctid;
use crate::machine::FailureClass;
use crate::shim::Kept;

use super::{Pct, observe};

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    /// Its name; nested ones are separated by slashes.
    pub(super) name: String,
    /// The numbers of its guests.
    guests: BTreeSet<u32>,
}

/// The pools, from the text of `user.cfg`: `pool:NAME:comment:guests:storages:`.
pub(super) fn parse(users: &str) -> Vec<Pool> {
    let pool = |line: &str| {
        let mut fields = line.strip_prefix("pool:")?.split(':');
        let (name, guests) = (fields.next()?.to_owned(), fields.nth(1).unwrap_or_default());
        let guests = guests.split([',', ';', ' ']).filter_map(|guest| guest.trim().parse().ok()).collect();
        Some(Pool { name, guests })
    };
    users.lines().filter_map(pool).collect()
}

impl Act<'_, Pct> {
    /// The pool that the container is to be in and is not. Where nothing can be read of pools, nothing is missed.
    pub(super) fn missing_pool(&self) -> Taken<Option<&str>> {
        let Some(wanted) = self.effect.spec.host_options.pool.as_deref() else { return Ok(None) };
        let users = observe::optional(&self.host.layout.users()).map_err(|error| failed(FailureClass::Transient, chain(&error)))?;
        let ctid = self.intent().ctid.get();
        let is_in = parse(&users).iter().any(|pool| pool.name == wanted && pool.guests.contains(&ctid));
        Ok((!users.is_empty() && !is_in).then_some(wanted))
    }

    /// Puts the container into its pool, if it is not there. From the documentation, not yet run.
    pub(super) fn join_pool(&self) -> Taken<()> {
        let Some(pool) = self.missing_pool()? else { return Ok(()) };
        let words = joining(pool, self.intent().ctid);
        let command = format!("pvesh {}", words.join(" "));
        let said = self.call("pvesh", words, Kept::LockAndToken)?;
        match self.missing_pool()? {
            None => self.make_durable_after(&said),
            Some(_) => Err(self.refused(&said, &format!("the container is not in the pool {pool} (`{command}` is to put it there)"))),
        }
    }
}

/// The words of `pvesh`. A path cannot name a pool within another.
fn joining(pool: &str, ctid: Ctid) -> Vec<String> {
    let ctid = ctid.to_string();
    let path = format!("/pools/{pool}");
    let words =
        if pool.contains('/') { vec!["set", "/pools", "--poolid", pool, "--vms", &ctid] } else { vec!["set", &path, "--vms", &ctid] };
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_and_their_guests_are_read() {
        let text = "user:root@pam:1:0::::::\npool:web:a comment:101,205:local:\npool:web/inner::::\npool:old:\n";
        let found: Vec<_> = parse(text).into_iter().map(|pool| (pool.name, pool.guests.into_iter().collect::<Vec<_>>())).collect();
        let expected = [("web", vec![101, 205]), ("web/inner", vec![]), ("old", vec![])];
        assert_eq!(found, expected.map(|(name, guests)| (name.to_owned(), guests)));
    }

    #[test]
    fn a_pool_within_another_is_no_part_of_a_path() {
        let ctid = Ctid::new(101).expect("in range");
        assert_eq!(joining("web", ctid).join(" "), "set /pools/web --vms 101");
        assert_eq!(joining("web/inner", ctid).join(" "), "set /pools --poolid web/inner --vms 101");
    }
}

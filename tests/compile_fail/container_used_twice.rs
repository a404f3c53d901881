//! A transition consumes its container, and an effect is carried out once.

use phoenix::host::{Host, Lease};
use phoenix::machine::{Container, Finalized, Mounts, Running};
use phoenix::plan::Effect;
use phoenix_journal::Recorded;

fn attached_twice(container: Container<Finalized>, mounts: Mounts, others: Mounts) {
    let _ = container.attach_volumes(mounts, None);
    let _ = container.attach_volumes(others, None);
}

fn kept_after_falling_back(container: Container<Running>) -> Container<Running> {
    let _volumed = container.fall_back();
    container
}

fn copied(container: &Container<Finalized>) -> Container<Finalized> {
    container.clone()
}

fn carried_out_twice(host: &dyn Host, effect: Recorded<Effect>, lease: Lease, other: Lease) {
    host.carry_out(effect, lease);
    host.carry_out(effect, other);
}

fn main() {}

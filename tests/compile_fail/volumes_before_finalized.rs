//! Volumes are attached to a finalized container, and to no other.

use phoenix::machine::{Configured, Container, Declared, Defined, Mounts, Volumed};

fn declared(container: Container<Declared>, mounts: Mounts) {
    let _ = container.attach_volumes(mounts);
}

fn defined(container: Container<Defined>, mounts: Mounts) {
    let _ = container.attach_volumes(mounts);
}

fn configured(container: Container<Configured>, mounts: Mounts) {
    let _ = container.attach_volumes(mounts);
}

fn again(container: Container<Volumed>, mounts: Mounts) {
    let _ = container.attach_volumes(mounts);
}

fn main() {}

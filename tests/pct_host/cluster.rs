//! What the cluster has to do with a container beside its configuration: pools, and a quorum that is lost on the way.
//!
//! Apart from `settle`, whose rows each kill a `pct` in the middle.

use std::path::{Path, PathBuf};

use phoenix::ids::Step;
use phoenix::machine::{FailureClass, StepResult};
use phoenix::manifest::{Firewall, FirewallPolicy, Spec};
use phoenix::plan::Action;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::fleets::ctid;
use crate::world::World;

#[track_caller]
fn failed(result: StepResult, wanted: &FailureClass) -> String {
    match result {
        StepResult::Failed(failure) if failure.class == *wanted => failure.message,
        other => panic!("{other:?}"),
    }
}

fn users(world: &World) -> String {
    std::fs::read_to_string(world.node.root().join("etc/pve/user.cfg")).expect("users")
}

fn in_pool(world: &World, mut spec: Spec) -> Spec {
    std::fs::write(world.node.root().join("etc/pve/user.cfg"), "user:root@pam:1:0::::::\npool:media::::\n").expect("written");
    spec.host_options.pool = Some("media".to_owned());
    spec
}

#[test]
fn a_container_whose_creation_failed_at_its_pool_is_put_there() {
    let Some(world) = World::new() else { return };
    let spec = in_pool(&world, world.spec(ctid(900_875)));
    world
        .node
        .fault("create 900875 die-after made \"error during cfs-locked 'file-user_cfg' operation: got lock request timeout\"")
        .expect("a fault");
    world.created(&spec);
    assert!(users(&world).contains("pool:media::::\n"), "{}", users(&world));
    assert_eq!(world.settle(&spec, Step::ConfigureSet.id(), Action::Configure), StepResult::Absent);
    world.done(&spec, Step::ConfigureSet, Action::Configure);
    assert!(users(&world).contains("pool:media::900875::\n"), "{}", users(&world));
    assert!(matches!(world.settle(&spec, Step::ConfigureSet.id(), Action::Configure), StepResult::Done(_)));
    world.node.forget_calls().expect("forgotten");
    world.done(&spec, Step::ConfigureSet, Action::Configure);
    assert_eq!(world.verbs(), Vec::<String>::new(), "it is in its pool already");
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn a_pool_that_cannot_be_joined_is_said_with_what_to_type() {
    let Some(world) = World::new() else { return };
    let spec = in_pool(&world, world.spec(ctid(900_876)));
    world.created(&spec);
    let others = users(&world).replace("pool:media::900876::", "pool:other::::");
    std::fs::write(world.node.root().join("etc/pve/user.cfg"), others).expect("written");
    let message = failed(world.take(&spec, Step::ConfigureSet, Action::Configure).result, &FailureClass::Permanent);
    assert!(message.contains("`pvesh set /pools/media --vms 900876`"), "{message}");
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

/// A directory that nobody can write to for a while, root neither.
struct Unwritable(PathBuf);

impl Unwritable {
    fn make(path: &Path) -> Self {
        rustix::mount::mount_bind(path, path).expect("mounted");
        let made = Self(path.to_owned());
        rustix::mount::mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, "").expect("read-only");
        made
    }
}

impl Drop for Unwritable {
    fn drop(&mut self) {
        // The test itself may have failed; what is left says so by itself.
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_quorum_that_is_lost_on_the_way_is_waited_for() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_877));
    let (policy_in, policy_out) = (FirewallPolicy::Drop, FirewallPolicy::Accept);
    spec.host_options.firewall = Some(Firewall { enable: true, policy_in, policy_out, rules: Vec::new() });
    world.created(&spec);
    let members = world.node.root().join("etc/pve/.members");
    let alone = std::fs::read_to_string(&members).expect("members");
    let config = world.config(spec.ctid);
    let attached = config.replacen("memory:", "mp0: /srv/x,mp=/srv/data\nmemory:", 1);
    std::fs::write(world.node.root().join("etc/pve/lxc/900877.conf"), attached).expect("written");
    let mount = world.mount("data", "/srv/data");
    let steps =
        || [(Step::FirewallSet, Action::SetFirewall), (Step::VolumeDetach(mount.at.clone()), Action::Detach { mount: mount.clone() })];
    let unwritable = ["etc/pve/firewall", "etc/pve/nodes/vm/lxc"].map(|place| Unwritable::make(&world.node.root().join(place)));
    for (step, action) in steps() {
        // Somebody else's doing, and not for a wait to mend.
        failed(world.take(&spec, step, action).result, &FailureClass::Permanent);
    }
    let cluster = r#""cluster": { "name": "home", "version": 2, "nodes": 2, "quorate": 0 }, "nodelist": {}"#;
    std::fs::write(&members, format!("{{\"nodename\": \"vm\", \"version\": 1, {cluster}}}\n")).expect("written");
    for (step, action) in steps() {
        waits(world.take(&spec, step, action).result);
    }
    drop(unwritable);
    world.node.fault("set 900877 exit 255 \"cluster not ready - no quorum?\"").expect("a fault");
    spec.resources.memory_mb = 256;
    waits(world.take(&spec, Step::ConfigureSet, Action::Configure).result);
    std::fs::write(&members, alone).expect("written");
    for (step, action) in steps() {
        world.done(&spec, step, action);
    }
    world.done(&spec, Step::ConfigureSet, Action::Configure);
}

#[track_caller]
fn waits(result: StepResult) {
    let StepResult::Failed(failure) = result else { panic!("{result:?}") };
    let FailureClass::Wait(wait) = &failure.class else { panic!("{failure:?}") };
    assert!(wait.name.contains("quorum") && wait.name.contains("pvecm status"), "{wait:?}");
    assert!(failure.message.contains("pvecm status"), "{}", failure.message);
}

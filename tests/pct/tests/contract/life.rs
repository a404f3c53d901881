//! A container's whole life.

use phoenix_test_pct::Vmid;

use crate::world::World;

#[test]
fn a_container_lives_from_create_to_destroy() {
    let Some(world) = World::new() else { return };
    let id = 910_000;
    world.create(id, "--rootfs local:1 --hostname db --net0 name=eth0,bridge=vmbr0,ip=10.99.0.5/24 --tags b,A");
    let conf = world.conf(id);
    assert!(conf.contains("rootfs: local:910000/vm-910000-disk-0.raw,size=1G\n") && conf.contains("tags: a;b\n"), "{conf}");
    let lxc = world.pct.root().lxc(Vmid::new(id));
    assert!(lxc.join("rootfs").is_dir() && !lxc.join("config").exists(), "the map is on file after the first start");
    assert_eq!(world.pct.mounts(Vmid::new(id)), Vec::<std::path::PathBuf>::new());

    world.does(&format!("pct start {id}"));
    assert!(std::fs::read_to_string(lxc.join("config")).expect("written").contains("lxc.idmap = u 0 100000 65536\n"));
    assert_eq!(
        world.does(&format!("pct exec {id} -- cat /proc/self/uid_map")).split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    assert_eq!(world.does(&format!("pct exec {id} -- hostname")), "db\n");
    assert_eq!(world.does(&format!("pct status {id}")), "status: running\n");

    let shared = world.path().join("shared");
    std::fs::create_dir(&shared).expect("made");
    std::fs::write(shared.join("f"), "x").expect("written");
    world.does(&format!("pct set {id} --mp0 {},mp=/data --memory 256 --tty 1", shared.display()));
    assert_eq!(world.does(&format!("pct exec {id} -- cat /data/f")), "x");
    assert!(world.conf(id).contains("memory: 256\n") && world.conf(id).ends_with("\n[pve:pending]\ntty: 1\n"));

    world.does(&format!("pct stop {id}"));
    assert_eq!(world.does(&format!("pct status {id}")), "status: stopped\n");
    assert!(!world.conf(id).contains("pending"), "stopping gives what waited its effect");
    world.does(&format!("pct start {id}"));
    assert_eq!(world.does(&format!("pct exec {id} -- cat /data/f")), "x");
    world.does(&format!("pct stop {id}"));
    world.does(&format!("pct destroy {id}"));
    assert_eq!(world.pct.conf(Vmid::new(id)), None);
    assert_eq!(world.does("pct list"), "");
    let images = world.path().join("var/lib/vz/images");
    assert_eq!(std::fs::read_dir(images).expect("there").count(), 0);
}

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

#[test]
fn devices_pools_and_firewalls_belong_to_a_container() {
    let Some(world) = World::new() else { return };
    let (id, copy) = (910_002, 910_003);
    let users = world.path().join("etc/pve/user.cfg");
    std::fs::write(&users, "user:root@pam:1:0::::::\npool:media::::\n").expect("written");
    world.fails(&format!("pct create {id} local:vztmpl/busybox-1.0_amd64.tar.gz --pool none"), "pool 'none' does not exist");
    world.create(id, "--rootfs btr:1 --pool media --dev0 /dev/kmsg,mode=0660,gid=104");
    let text = || std::fs::read_to_string(&users).expect("users");
    assert!(text().contains("pool:media::910002::\n"), "{}", text());
    let rules = |id: u32| world.path().join(format!("etc/pve/firewall/{id}.fw"));
    std::fs::write(rules(id), "[OPTIONS]\nenable: 1\n").expect("written");
    world.does(&format!("pct start {id}"));
    assert!(world.does(&format!("pct exec {id} -- ls -l /dev/kmsg")).starts_with('c'));
    world.does(&format!("pct set {id} --memory 128"));
    let limit = std::path::PathBuf::from(format!("/sys/fs/cgroup/memory/lxc/{id}/memory.limit_in_bytes"));
    if limit.exists() {
        assert_eq!(std::fs::read_to_string(limit).expect("a limit"), format!("{}\n", 128 << 20));
    }
    world.does(&format!("pct stop {id}"));
    world.does(&format!("pct clone {id} {copy}"));
    assert_eq!(std::fs::read(rules(copy)).expect("copied"), std::fs::read(rules(id)).expect("there"));
    world.does(&format!("pct destroy {id}"));
    assert!(text().contains("pool:media::::\n") && !rules(id).exists() && rules(copy).exists());
    world.does(&format!("pct set {copy} --dev0 /dev/none"));
    world.fails(&format!("pct start {copy}"), "Device /dev/none does not exist");
}

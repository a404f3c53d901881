//! What the steps cost on real LXC, each alone and twenty containers at once against a shell that does the same without
//! journal, marks and syncs. Measurements, not tests: nothing is asserted but success.
//!
//! `cargo test --release --test lxc_host costs -- --ignored --nocapture --test-threads=1`

use phoenix::host::Host;
use phoenix::ids::Step;
use phoenix::machine::{Evidence, StepResult};
use phoenix::plan::{Action, StartPurpose};

use super::world::{World, ctid, template};

/// How many containers at once, and by how many workers.
const CONTAINERS: u32 = 20;
const WORKERS: u32 = 4;

#[test]
#[ignore = "a measurement"]
fn each_step() {
    let Some(world) = World::new() else { return };
    for number in 900_270..900_275 {
        let spec = world.spec(ctid(number));
        world.created(&spec);
        let init = world.started(&spec);
        world.done(&spec, Step::RunReady, Action::AwaitReady { init: init.clone() });
        let before = world.host.now().expect("a time").moment.boottime_ms;
        for _ in 0..10 {
            world.host.observe(None, &[spec.ctid]).expect("a look");
        }
        let looked = world.host.now().expect("a time").moment.boottime_ms;
        assert!(matches!(world.script(&spec, &init, "#!/bin/sh\n").0, StepResult::Done(_)));
        let ran = world.host.now().expect("a time").moment.boottime_ms;
        eprintln!("ten looks: {} ms; a script: {} ms", looked - before, ran - looked);
        world.stopped(&spec);
        world.done(&spec, Step::DownDestroy, Action::Destroy);
    }
}

#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "the shell that is measured against")]
fn twenty_at_once() {
    let Some(world) = World::new() else { return };
    template(&world.path("template.tar"), &[]);
    let now = || world.host.now().expect("a time").moment.boottime_ms;
    let before = now();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let world = &world;
            scope.spawn(move || (0..CONTAINERS).filter(|index| index % WORKERS == worker).for_each(|index| up(world, 900_270 + index)));
        }
    });
    let ours = now() - before;
    let directory = world.path("shell");
    std::fs::create_dir(&directory).expect("a directory");
    let before = now();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (directory, template) = (&directory, world.path("template.tar"));
            scope.spawn(move || {
                for index in (0..CONTAINERS).filter(|index| index % WORKERS == worker) {
                    let mut shell = std::process::Command::new("/bin/sh");
                    shell.args(["-e", "-c", SHELL, "sh"]).arg(directory).arg(format!("shell-{index}")).arg(&template);
                    assert!(shell.status().expect("a shell").success());
                }
            });
        }
    });
    let theirs = now() - before;
    for index in 0..CONTAINERS {
        let mut stop = std::process::Command::new("lxc-stop");
        assert!(stop.args(["-k", "-P"]).arg(&directory).arg("-n").arg(format!("shell-{index}")).status().expect("lxc-stop").success());
    }
    eprintln!("{CONTAINERS} containers, {WORKERS} at once: phoenix {ours} ms, shell {theirs} ms");
}

/// What a container goes through until it is ready, with a shared directory.
fn up(world: &World, number: u32) {
    let mut spec = world.spec(ctid(number));
    let mount = world.mount(&format!("v{number}"), "/srv/shared");
    spec.mounts = vec![mount.clone()];
    let done = |step: Step, action: Action| match world.take(&spec, step, action).result {
        StepResult::Done(evidence) => evidence,
        other => panic!("{other:?}"),
    };
    done(Step::DefineCreate, Action::Create { template: None });
    done(Step::DefineMark, Action::Mark);
    done(Step::ConfigureSet, Action::Configure);
    let idmap = || spec.idmap.clone();
    let Evidence::Started { init, .. } =
        done(Step::FinalizeStart, Action::Start { purpose: StartPurpose::Finalize, idmap: idmap(), sources: Vec::new() })
    else {
        panic!("not started")
    };
    done(Step::FinalizeIdmap, Action::ReadIdmap { init: init.clone() });
    done(Step::FinalizeStop, Action::Stop { init: Some(init) });
    let Evidence::Prepared(prepared) =
        done(Step::VolumePrepare(mount.volume.name.clone()), Action::Prepare { volume: mount.volume.clone(), idmap: idmap() })
    else {
        panic!("not prepared")
    };
    let source = prepared.source;
    done(Step::VolumeAttach(mount.at.clone()), Action::Attach { mount: mount.clone(), source: source.clone(), idmap: idmap() });
    let Evidence::Started { init, .. } =
        done(Step::RunStart, Action::Start { purpose: StartPurpose::Run, idmap: idmap(), sources: vec![source] })
    else {
        panic!("not started")
    };
    done(Step::RunReady, Action::AwaitReady { init: init.clone() });
    let (result, _) = world.script(&spec, &init, "#!/bin/sh\n");
    assert!(matches!(result, StepResult::Done(_)), "{result:?}");
}

/// The same by hand: directory, name, archive.
const SHELL: &str = r#"
mkdir -p "$1/$2/rootfs" "$1/vol/$2"
tar -C "$1/$2/rootfs" --exclude=./dev/zero --exclude=dev/zero -xf "$3"
chown -R 100000:100000 "$1/$2/rootfs"
cat >"$1/$2/config" <<EOF
lxc.include = /usr/share/lxc/config/common.conf
lxc.include = /usr/share/lxc/config/userns.conf
lxc.rootfs.path = dir:$1/$2/rootfs
lxc.uts.name = $2
lxc.net.0.type = empty
lxc.idmap = u 0 100000 65536
lxc.idmap = g 0 100000 65536
EOF
lxc-start -P "$1" -n "$2" -d
lxc-stop -k -P "$1" -n "$2"
chown 101000:101000 "$1/vol/$2"
echo "lxc.mount.entry = $1/vol/$2 srv/shared none bind,create=dir 0 0" >>"$1/$2/config"
lxc-start -P "$1" -n "$2" -d
lxc-attach -P "$1" -n "$2" -- /bin/true
"#;

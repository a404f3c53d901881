//! The host goes down: Phoenix, shims, containers and the runtime directory are gone, and the boot is another one.
//!
//! What a container had written and not synced would be lost too; that is the simulator's to show. Not here: kills of single
//! processes (`kills`, `shims`).

use std::fs;

use super::fingerprint::{Fingerprint, check_same};
use super::fleet::{FIVE_SCRIPTS, paced_five};
use super::ground::{Ground, Kind, tell};
use super::processes::{now, pause, until};

const PLACES: [u32; 5] = [0, 1, 2, 3, 4];
/// Steps in which the host goes down, one after the other: container and step.
const CRASHES: [(u32, &str); 5] =
    [(0, "define.create"), (2, "finalize.start"), (2, "run.start"), (4, "configure.set"), (4, "feature.apply[tool]")];

impl Ground {
    /// The host goes down and comes up again, in a boot of this number.
    pub(crate) fn crash_host(&self, boot: usize) {
        assert_eq!(self.end(), []);
        if let Some(pve) = self.pve() {
            assert_eq!(pve.end(), Vec::<String>::new());
        }
        self.remove_control_groups();
        for entry in fs::read_dir(self.runtime()).expect("the runtime directory").flatten() {
            fs::remove_dir_all(entry.path()).expect("removed");
        }
        self.boot(&format!("c0ffee00-0000-4000-8000-{:012}", boot + 2));
    }
}

/// Without the scripts' own counts.
fn without_starts(mut found: Fingerprint) -> Fingerprint {
    found.retain(|name, _| !name.ends_with("/starts"));
    found
}

fn after_a_crash_of_the_host_everything_is_done_and_every_repetition_has_its_reason(kind: Kind) {
    let Some(ground) = Ground::on(kind, 12) else { return };
    paced_five(&ground, 0.2);
    ground.up(0);
    let wanted = without_starts(ground.fingerprint(&PLACES));

    // With everything done: the containers come up again, and no script is repeated.
    ground.crash_host(0);
    assert!(PLACES.iter().all(|&place| !ground.is_running(place)));
    ground.resume(0);
    check_same(&without_starts(ground.fingerprint(&PLACES)), &wanted, "after a crash with everything done");
    for (place, script, step) in FIVE_SCRIPTS {
        assert_eq!(ground.starts(place, script), 1, "{step} of {place}");
    }
    ground.down(0);

    let manifest = ground.path("fleet.json");
    let mut arguments = vec!["up", manifest.to_str().expect("plain")];
    let mut hit = 0;
    for (boot, (place, step)) in CRASHES.into_iter().enumerate() {
        let mut phoenix = ground.start(&arguments);
        // A step may be over before it is seen; then the crash comes a little later.
        let from = now();
        let seen = until(step, || {
            let open = ground.open_step(place).as_deref() == Some(step);
            (open || phoenix.has_ended() || from.elapsed().as_secs() > 8).then_some(open)
        });
        hit += usize::from(seen);
        ground.crash_host(boot + 1);
        phoenix.wait();
        arguments = vec!["resume"];
    }
    ground.resume(0);
    check_same(&without_starts(ground.fingerprint(&PLACES)), &wanted, "after crashes on the way");
    for (place, script, step) in FIVE_SCRIPTS {
        ground.invariant_starts_are_explained(place, script, step);
    }
    assert!(ground.status().iter().all(|one| one["state"] == "done" && one["standing"] == "active"));
    ground.invariant_journal_is_clean();
    tell(&format!("{} crashes of the host, {hit} of them within the step aimed at", CRASHES.len() + 1));
}

fn a_container_stopped_by_others_is_brought_up_again(kind: Kind) {
    let Some(ground) = Ground::on(kind, 15) else { return };
    let once = ground.script("once", "true");
    super::fleet::Fleet::new(&ground).container(0, serde_json::json!({ "features": [once] })).write();
    ground.up(0);
    let init = ground.init(0).expect("an init");
    super::processes::kill(init, rustix::process::Signal::KILL);
    until("the container's end", || ground.init(0).is_none().then_some(()));
    pause(50);
    ground.up(0);
    assert!(ground.is_running(0));
    assert_eq!(ground.starts(0, "once"), 1);
    ground.invariant_journal_is_clean();
}

on_each_host! {
    after_a_crash_of_the_host_everything_is_done_and_every_repetition_has_its_reason
    a_container_stopped_by_others_is_brought_up_again
}

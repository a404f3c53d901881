//! The engine on the stage: the bytes choose a fleet, its faults, and runs with crashes and meddling between them.
//!
//! Nothing need come to its end, but what must hold at any time holds after each run. At last everybody keeps their hands
//! off, and nothing is left undecided. Not here: convergence to a particular end (`rehearsal`).

use phoenix::driver::Silent;
use phoenix::host::sim::{Fault, Faults, Rates, Survivors, Tamper, What, When, Where, World, WorldOptions};
use phoenix::ids::Ctid;
use phoenix::manifest::Spec;
use phoenix::rehearse::{Crash, CrashKind, Ended, Stage};

use super::bytes::Bytes;
use super::fleets::{cloned, ctid, depending, mounted, on_proxmox, spec, wanted, with_application, with_snapshot};
use super::histories::all_steps;
use super::invariants::invariants;

const CRASHES: [CrashKind; 4] =
    [CrashKind::Process(Survivors::Shims), CrashKind::Process(Survivors::Children), CrashKind::Process(Survivors::Nobody), CrashKind::Host];

/// More runs show nothing new.
const RUNS_MAX: usize = 6;

/// See the module.
pub(crate) fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let specs = fleet(&mut bytes);
    let ctids: Vec<Ctid> = specs.iter().map(|spec| spec.ctid).collect();
    let (jobs, seed) = (1 + bytes.below(4), u64::from(bytes.byte()));
    let options = WorldOptions { faults: faults(&mut bytes, &specs), ..WorldOptions::seeded(seed) };
    let mut stage = Stage::new(World::new(options), "fleet".parse().expect("a name"), wanted(specs), jobs, seed).expect("a stage");
    for _ in 0..RUNS_MAX {
        if bytes.is_empty() {
            break;
        }
        let command = bytes.below(8);
        let crash = bytes.percent(60).then(|| Crash { point: bytes.below(300) as u64, kind: bytes.pick(&CRASHES) });
        let ended = match command {
            0 => stage.down(crash, &mut Silent),
            1 | 2 => stage.resume(crash, &mut Silent),
            _ => stage.up(crash, &mut Silent),
        };
        ended.expect("a run, to its end or its crash");
        invariants(&stage);
        if bytes.percent(30) {
            let tamper = tamper(&mut bytes, &ctids);
            // Whoever meddles with a container between the look of a step and its end gets what no look can prevent.
            if stage.world.under_way().next().is_none() {
                stage.world.tamper(&tamper);
            }
        }
    }
    let last = stage.up(None, &mut Silent).expect("a run");
    assert!(matches!(last, Ended::Run { .. }), "nothing cuts it");
    invariants(&stage);
    let account = stage.account().expect("an account");
    for life in account.lives.values() {
        let life = life.as_ref().unwrap_or_else(|why| panic!("what the engine wrote cannot be read: {why}"));
        assert!(life.open().is_none(), "a run that ends by itself leaves nothing in doubt: {:#?}", life.open());
    }
}

/// One to four containers; each may clone or depend on an earlier one.
pub(crate) fn fleet(bytes: &mut Bytes<'_>) -> Vec<Spec> {
    let mut specs: Vec<Spec> = Vec::new();
    for number in (100..).take(1 + bytes.below(4)) {
        let mut new = spec(number);
        if let Some(earlier) = (!specs.is_empty()).then(|| bytes.pick(&specs)) {
            match bytes.below(3) {
                1 => new = depending(new, earlier.ctid.get()),
                // The manifest allows no clone of a container with shared directories.
                2 if earlier.mounts.is_empty() => new = cloned(new, earlier.ctid.get()),
                _ => {}
            }
        }
        if bytes.byte() % 2 == 1 {
            new = mounted(new, "media");
        }
        if bytes.byte() % 2 == 1 {
            new = with_application(new);
        }
        if bytes.byte() % 2 == 1 {
            new = with_snapshot(on_proxmox(new));
        }
        specs.push(new);
    }
    specs
}

fn faults(bytes: &mut Bytes<'_>, specs: &[Spec]) -> Faults {
    let rates = Rates {
        transient_percent: u8::try_from(bytes.below(15)).unwrap_or(0),
        hang_percent: u8::try_from(bytes.below(5)).unwrap_or(0),
        init_dies_percent: u8::try_from(bytes.below(8)).unwrap_or(0),
        spared_from_attempt: 6,
    };
    let planned = (0..bytes.below(4)).map(|_| {
        let spec = bytes.pick(specs);
        let what = match bytes.below(8) {
            0 | 1 => What::Transient,
            2 => What::Permanent,
            3 => What::DiskFull,
            4 => What::Hang,
            5 => What::InitDies,
            6 => What::NeverReady,
            _ => What::Exit { status: 3, output: "no".to_owned() },
        };
        let when = match bytes.below(3) {
            0 => When::Before,
            1 => When::Piece(1 + bytes.byte() % 5),
            _ => When::After,
        };
        let step = Where::Step(bytes.pick(&all_steps(&spec)).id());
        Fault { ctid: Some(spec.ctid), step, attempt: Some(1 + u32::from(bytes.byte() % 3)), when, what }
    });
    Faults { planned: planned.collect(), rates }
}

fn tamper(bytes: &mut Bytes<'_>, ctids: &[Ctid]) -> Tamper {
    let on = bytes.pick(&[ctids, &[ctid(100)]].concat());
    match bytes.below(6) {
        0 => Tamper::Stranger(on),
        1 => Tamper::Remove(on),
        2 => Tamper::Unmark(on),
        3 => Tamper::Stop(on),
        4 => Tamper::Unmount("/srv/media".into()),
        _ => Tamper::Start(on),
    }
}

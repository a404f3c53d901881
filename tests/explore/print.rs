//! A situation as text, so that situations with the same future have the same text.
//!
//! Numbers that only count up (sequence numbers, attempts, runs, epochs, tokens, pids) are left out: what matters of a pid is
//! whether it is the one the journal recorded. What only the engine knows is taken from its `Debug` text, piece by piece, and a
//! piece that is not found stops the test. Not here: what a situation is.

use std::fmt::Write;

use phoenix::driver::Lives;
use phoenix::engine::{Engine, Goal};
use phoenix::ids::{Ctid, State, Step};
use phoenix::machine::{Life, Past, Record, Standing};
use phoenix::plan::{Action, Init, Intent, Reason};

use super::host::{Guest, Host};
use super::node::{Node, Phase};

/// All that decides what may follow.
pub(crate) fn print(node: &Node) -> String {
    let mut text = String::with_capacity(2048);
    writeln!(text, "{:?}", node.goal).expect("memory");
    match &node.phase {
        Phase::Running(engine) => print_engine(&mut text, engine, node.goal),
        Phase::Ended(engine, end) => {
            writeln!(text, "{end:?}").expect("memory");
            print_engine(&mut text, engine, node.goal);
        }
        Phase::Down(_) => text.push_str("down\n"),
    }
    print_lives(&mut text, &node.lives(), node);
    for (ctid, op) in &node.ops {
        write!(text, "op {ctid} {} ", if op.orphan { "orphan" } else { "" }).expect("memory");
        print_intent(&mut text, &op.effect.intent, &node.host);
    }
    writeln!(text, "settles {:?} wakes {:?}", node.settles.keys(), node.wakes).expect("memory");
    print_host(&mut text, node);
    // What an invariant asks for, and nothing that follows.
    let lost = node.told > node.journal.len();
    writeln!(text, "{:?} {} {:?} {lost}", node.left, node.surprised, node.host.harm).expect("memory");
    text
}

/// What the engine knows beyond the lives.
fn print_engine(text: &mut String, engine: &Engine, goal: Goal) {
    let debug = format!("{engine:?}");
    let mut slots = 0;
    for slot in debug.split(", phase: ").skip(1) {
        slots += 1;
        let phase: &str = slot.split(|c: char| !c.is_ascii_alphabetic()).next().expect("a first piece");
        let sight = piece(slot, "sight: ", ", wait: ");
        // On the way up it is compared at once, and decides nothing later.
        let seen = if goal == Goal::Up { if sight == "None" { "no" } else { "yes" } } else { sight };
        let locked = piece(slot, "locked_since: ", "(").len() < "None, ".len();
        writeln!(text, "{phase} {seen} {locked} {}", piece(slot, "unknowns: ", " }")).expect("memory");
    }
    assert_eq!(slots, engine.lives().count(), "the engine's Debug text has changed: {debug}");
    let tail = debug.rfind("agenda: ").expect("the engine's Debug text names its agenda");
    writeln!(text, "{}", &debug[tail..]).expect("memory");
}

fn piece<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let from = text.find(begin).unwrap_or_else(|| panic!("the engine's Debug text no longer says {begin:?}: {text}")) + begin.len();
    let length = text[from..].find(end).unwrap_or(text.len() - from);
    &text[from..from + length]
}

fn print_lives(text: &mut String, lives: &Lives, node: &Node) {
    for (ctid, life) in lives {
        match life {
            Ok(life) => print_life(text, *ctid, life, &node.host),
            Err(why) => writeln!(text, "{ctid} {why:?}").expect("memory"),
        }
    }
}

fn print_life(text: &mut String, ctid: Ctid, life: &Life, host: &Host) {
    let standing = match &life.standing {
        Standing::Active => "active".to_owned(),
        Standing::Waiting(wait) => format!("waiting {:?} {:?}", wait.kind, wait.ctid),
        Standing::Failed { step, failure } => format!("failed {step} {:?}", failure.class),
        Standing::Quarantined(quarantine) => format!("{:?}", quarantine.reason),
    };
    let own = host.place(ctid).guest.as_ref().map(|guest| guest.incarnation.map(|incarnation| incarnation == life.incarnation()));
    let finalized = life.proofs().finalization().is_some();
    let init = life.init().map(|init| same_init(init, host, ctid));
    let (state, held, ended, sources) = (life.state(), life.held(), life.is_ended(), life.sources().len());
    let (remark, looked_at) = (life.is_remark_asked(), life.was_worked_on_in(&host.boot_id()));
    writeln!(text, "{ctid} {state} {standing} {held:?} {remark} {looked_at} {ended} own {own:?} map {finalized} init {init:?} {sources}")
        .expect("memory");
    for (step, record) in life.records() {
        print_record(text, life.state(), step, record);
    }
    if let Some((_, _, intent)) = life.open() {
        text.push_str("open ");
        print_intent(text, intent, host);
    }
}

/// What a record still decides. Below `Volumed` nothing falls back: what led there is over, whatever is noted of it later.
fn print_record(text: &mut String, state: State, step: &Step, record: &Record) {
    let Record { intents: _, repairs: _, failures, waits, cut_off: _, done, leftover, past } = record;
    let lasts = !(step.is_volatile() || matches!(step, Step::HealthCheck(_) | Step::CloneHold | Step::CloneRelease));
    let over = into(step).is_some_and(|into| into <= state && into <= State::Volumed);
    if over || (*done && lasts) {
        write!(text, "{} over {leftover:?};", step.base()).expect("memory");
        return;
    }
    // Why a step is taken again is written into its intent, and only scripts and marks are judged by it.
    let past = match past {
        Past::Untried => 'u',
        Past::Failed(_) => 'f',
        Past::CutOff => 'c',
        Past::Lost => 'l',
        Past::Asked => 'a',
    };
    let past = if is_judged(step) { past } else { '-' };
    write!(text, "{} {done} {leftover:?} {failures} {waits} {past};", step.base()).expect("memory");
}

fn is_judged(step: &Step) -> bool {
    step.is_script() || matches!(step, Step::DefineMark | Step::DownDestroy)
}

/// The state that a step leads into, for those below the last state that nothing falls back from.
fn into(step: &Step) -> Option<State> {
    Some(match step {
        Step::TemplateFetch | Step::DefineCreate | Step::DefineClone | Step::DefineMark => State::Defined,
        Step::ConfigureSet | Step::FirewallSet => State::Configured,
        Step::FinalizeStart | Step::FinalizeIdmap | Step::FinalizeStop => State::Finalized,
        Step::SnapshotTake | Step::VolumePrepare(_) | Step::VolumeAttach(_) => State::Volumed,
        Step::VolumeDetach(_)
        | Step::CloneHold
        | Step::CloneRelease
        | Step::RunStart
        | Step::RunReady
        | Step::FeatureApply(_)
        | Step::ApplicationRun
        | Step::HealthCheck(_)
        | Step::AutostartSet
        | Step::DownStop
        | Step::DownDestroy => return None,
    })
}

fn print_intent(text: &mut String, intent: &Intent, host: &Host) {
    let reason = match intent.reason {
        Reason::First => 'f',
        Reason::Retry { .. } => 'r',
        Reason::Interrupted => 'i',
        Reason::Lost => 'l',
        Reason::Asked => 'a',
    };
    let reason = if is_judged(&intent.step.step) { reason } else { '-' };
    let init = match &intent.action {
        Action::ReadIdmap { init } | Action::AwaitReady { init } | Action::RunScript { init } | Action::AskHealth { init } => {
            Some(same_init(init, host, intent.ctid))
        }
        Action::Hold { init, .. } | Action::Stop { init } => init.as_ref().map(|init| same_init(init, host, intent.ctid)),
        Action::FetchTemplate
        | Action::SetFirewall
        | Action::TakeSnapshot
        | Action::Create { .. }
        | Action::Clone { .. }
        | Action::Mark
        | Action::Release
        | Action::Configure
        | Action::Start { .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::SetAutostart
        | Action::Destroy
        | Action::Repair { .. } => None,
    };
    let place = host.place(intent.ctid);
    let (begun, left) = (place.begun == Some(intent.token), place.left.filter(|left| left.token == intent.token).map(|left| left.success));
    let boot = intent.deadline.boot.as_str() == format!("boot-{}", host.boot);
    writeln!(text, "{} {reason} {init:?} {begun} {left:?} {boot}", intent.step).expect("memory");
}

/// Whether the init is the one that runs, and if not, whether it may look like one of this boot.
fn same_init(init: &Init, host: &Host, ctid: Ctid) -> (bool, bool) {
    (host.init(ctid).as_ref() == Some(init), init.boot.as_str() == format!("boot-{}", host.boot))
}

fn print_host(text: &mut String, node: &Node) {
    for (ctid, place) in &node.host.places {
        write!(text, "{ctid} up {} held {:?} {:?}", place.up.is_some(), place.held, place.scripts).expect("memory");
        if let Some(guest) = &place.guest {
            print_guest(text, guest);
        }
        if let Some((guest, scripts)) = &place.away {
            write!(text, " away {scripts:?}").expect("memory");
            print_guest(text, guest);
        }
        text.push('\n');
    }
    writeln!(text, "{:?} {}", node.host.prepared, node.host.fetched).expect("memory");
}

fn print_guest(text: &mut String, guest: &Guest) {
    let Guest { incarnation: _, half, marked, mapped, configured, attached, autostart, locked_for, walled, point, copy } = guest;
    write!(text, " {half} {marked} {mapped} {configured} {attached:?} {autostart} {locked_for:?}").expect("memory");
    write!(text, " {walled} {point:?} {copy:?}").expect("memory");
}

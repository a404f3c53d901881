//! What is recorded: intents, outcomes, declarations, notes, runs; and marks.

use std::sync::Arc;

use phoenix_journal::Digest;
use proptest::prelude::*;

use super::names::{
    boot, ctid, digest, epoch, fleet, generation, idmap, incarnation, journal_id, moment, path, run_id, seq, state, step_id, target, text,
    token, volume_name, wall,
};
use super::specs::{mount, spec, volume};
use super::{maybe, one_of, some};
use crate::machine::{
    Decision, Declaration, Evidence, Fact, Failure, FailureClass, Line, Note, Outcome, Output, Prepared, Quarantine, QuarantineReason,
    RunClosed, RunCommand, RunEnd, RunOpened, Standing, StepResult, Topic, Wait, WaitKind,
};
use crate::plan::{Action, Attachment, CopyFrom, Effect, HoldBy, Init, Intent, Mark, Reason, Repertoire, Source, StartPurpose};

/// Anything that a journal can be asked to hold.
pub fn line() -> BoxedStrategy<Line> {
    let effects = (effect(), wall()).prop_map(|(effect, at)| Line::Effect(Box::new(effect), at));
    prop_oneof![1 => effects, 5 => fact().prop_map(Line::Fact)].boxed()
}

/// Anything that a journal can give back.
pub fn fact() -> BoxedStrategy<Fact> {
    prop_oneof![
        declaration().prop_map(|declaration| Fact::Declared(Box::new(declaration))),
        (intent(), wall()).prop_map(|(intent, at)| Fact::Intended(Box::new(intent), at)),
        outcome().prop_map(|outcome| Fact::Outcome(Box::new(outcome))),
        note().prop_map(|note| Fact::Noted(Box::new(note))),
        run_opened().prop_map(|opened| Fact::RunOpened(Box::new(opened))),
        run_closed().prop_map(Fact::RunClosed),
    ]
    .boxed()
}

/// Any effect; its spec and mark are not those of its intent.
pub fn effect() -> BoxedStrategy<Effect> {
    (intent(), spec(), mark()).prop_map(|(intent, spec, mark)| Effect { intent, spec: Arc::new(spec), mark, former: Vec::new() }).boxed()
}

/// Any mark.
pub fn mark() -> BoxedStrategy<Mark> {
    (journal_id(), fleet(), ctid(), incarnation(), epoch())
        .prop_map(|(journal, fleet, ctid, incarnation, epoch)| Mark { journal, fleet, ctid, incarnation, epoch })
        .boxed()
}

/// Any intent.
pub fn intent() -> BoxedStrategy<Intent> {
    let subject = (run_id(), ctid(), incarnation(), generation(), state());
    (subject, step_id(), any::<u32>(), reason(), moment(), token(), action())
        .prop_map(|((run, ctid, incarnation, generation, state), step, attempt, reason, deadline, token, action)| Intent {
            run,
            ctid,
            incarnation,
            generation,
            state,
            step,
            attempt,
            reason,
            deadline,
            token,
            action,
        })
        .boxed()
}

fn reason() -> BoxedStrategy<Reason> {
    let plain = one_of([Reason::First, Reason::Interrupted, Reason::Lost, Reason::Asked]);
    prop_oneof![4 => plain, 1 => text().prop_map(|after| Reason::Retry { after })].boxed()
}

fn action() -> BoxedStrategy<Action> {
    let plain = one_of([
        Action::FetchTemplate,
        Action::Mark,
        Action::Release,
        Action::Configure,
        Action::SetFirewall,
        Action::TakeSnapshot,
        Action::SetAutostart,
        Action::Destroy,
    ]);
    let by = || one_of([HoldBy::Stop, HoldBy::Snapshot]);
    let from = one_of([CopyFrom::Current, CopyFrom::Snapshot]);
    let purpose = one_of([StartPurpose::Finalize, StartPurpose::Run]);
    prop_oneof![
        8 => plain,
        1 => maybe(digest()).prop_map(|template| Action::Create { template }),
        1 => (ctid(), incarnation(), from).prop_map(|(source, incarnation, from)| Action::Clone { source, incarnation, from }),
        1 => (maybe(init()), by()).prop_map(|(init, by)| Action::Hold { init, by }),
        1 => (purpose, idmap(), some(source())).prop_map(|(purpose, idmap, sources)| Action::Start { purpose, idmap, sources }),
        1 => init().prop_map(|init| Action::ReadIdmap { init }),
        1 => maybe(init()).prop_map(|init| Action::Stop { init }),
        1 => (volume(), idmap()).prop_map(|(volume, idmap)| Action::Prepare { volume, idmap }),
        1 => (mount(), source(), idmap()).prop_map(|(mount, source, idmap)| Action::Attach { mount, source, idmap }),
        1 => mount().prop_map(|mount| Action::Detach { mount }),
        1 => init().prop_map(|init| Action::AwaitReady { init }),
        1 => init().prop_map(|init| Action::RunScript { init }),
        1 => init().prop_map(|init| Action::AskHealth { init }),
        1 => text().prop_map(|leftover| Action::Repair { leftover }),
    ]
    .boxed()
}

fn init() -> BoxedStrategy<Init> {
    (boot(), any::<u32>(), any::<u64>()).prop_map(|(boot, pid, start_ticks)| Init { boot, pid, start_ticks }).boxed()
}

fn source() -> BoxedStrategy<Source> {
    (volume_name(), path(), any::<u64>(), any::<u64>())
        .prop_map(|(volume, path, device, inode)| Source { volume, path, device, inode })
        .boxed()
}

/// Any outcome; its state and standing need not follow from its result.
pub fn outcome() -> BoxedStrategy<Outcome> {
    let subject = (run_id(), ctid(), incarnation(), generation(), state());
    (subject, seq(), step_id(), any::<u32>(), result(), any::<bool>(), maybe(output()), standing(), wall())
        .prop_map(|((run, ctid, incarnation, generation, state), intent, step, attempt, result, recovered, output, standing, at)| Outcome {
            run,
            ctid,
            incarnation,
            generation,
            intent,
            step,
            attempt,
            result,
            recovered,
            output,
            state,
            standing,
            at,
        })
        .boxed()
}

fn result() -> BoxedStrategy<StepResult> {
    prop_oneof![
        6 => evidence().prop_map(StepResult::Done),
        3 => failure().prop_map(StepResult::Failed),
        1 => Just(StepResult::Absent),
        1 => text().prop_map(|leftover| StepResult::Partial { leftover }),
        1 => text().prop_map(|owner| StepResult::Foreign { owner }),
        1 => Just(StepResult::Gone),
        1 => text().prop_map(|why| StepResult::Unknown { why }),
        1 => Just(StepResult::Interrupted),
    ]
    .boxed()
}

fn output() -> BoxedStrategy<Output> {
    let kept = prop::collection::vec(any::<u8>(), 0..40).prop_map(|kept| (Digest::of(&kept), Some(kept)));
    let known = prop_oneof![kept, digest().prop_map(|digest| (digest, None))];
    (known, any::<u64>()).prop_map(|((digest, kept), bytes_written)| Output { digest, kept, bytes_written }).boxed()
}

/// Any evidence.
pub fn evidence() -> BoxedStrategy<Evidence> {
    let plain = one_of([
        Evidence::Marked,
        Evidence::Fetched,
        Evidence::FirewallSet,
        Evidence::Held { by: HoldBy::Stop },
        Evidence::Held { by: HoldBy::Snapshot },
        Evidence::Released,
        Evidence::Stopped,
        Evidence::Detached,
        Evidence::Destroyed,
        Evidence::Repaired,
    ]);
    let cloned = (ctid(), incarnation(), any::<u32>());
    let ran = (digest(), wall(), wall(), any::<bool>());
    prop_oneof![
        10 => plain,
        1 => text().prop_map(|name| Evidence::Snapshot { name }),
        1 => any::<u32>().prop_map(|left_out| Evidence::Created { left_out }),
        1 => cloned.prop_map(|(source, incarnation, shared_mounts)| Evidence::Cloned { source, incarnation, shared_mounts }),
        1 => some(text()).prop_map(|unenforced| Evidence::Configured { unenforced }),
        1 => (init(), idmap()).prop_map(|(init, idmap)| Evidence::Started { init, idmap }),
        1 => (init(), idmap()).prop_map(|(init, idmap)| Evidence::Idmap { init, idmap }),
        1 => prepared().prop_map(Evidence::Prepared),
        1 => attachment().prop_map(Evidence::Attached),
        1 => (init(), text()).prop_map(|(init, basis)| Evidence::Ready { init, basis }),
        1 => ran.prop_map(|(script, started, ended, skipped)| Evidence::Ran { script, started, ended, skipped }),
        1 => any::<u32>().prop_map(|asked| Evidence::Healthy { asked }),
        1 => any::<bool>().prop_map(|enabled| Evidence::AutostartSet { enabled }),
    ]
    .boxed()
}

fn prepared() -> BoxedStrategy<Prepared> {
    (source(), any::<(u32, u32, Option<(u32, u32, u32)>)>(), some(text()))
        .prop_map(|(source, (host_uid, host_gid, former), left_alone)| Prepared { source, host_uid, host_gid, former, left_alone })
        .boxed()
}

fn attachment() -> BoxedStrategy<Attachment> {
    (source(), target(), text(), any::<bool>())
        .prop_map(|(source, at, mechanism, read_only)| Attachment { source, at, mechanism, read_only })
        .boxed()
}

/// Any failure.
pub fn failure() -> BoxedStrategy<Failure> {
    (failure_class(), text(), maybe(text()), maybe(text()), text())
        .prop_map(|(class, message, command, status, tail)| Failure { class, message, command, status, tail })
        .boxed()
}

fn failure_class() -> BoxedStrategy<FailureClass> {
    let plain = one_of([
        FailureClass::Transient,
        FailureClass::Timeout,
        FailureClass::Permanent,
        FailureClass::InitLost,
        FailureClass::MarkMissing,
        FailureClass::Undead,
        FailureClass::JournalOlder,
    ]);
    prop_oneof![
        7 => plain,
        1 => (text(), text()).prop_map(|(claim, found)| FailureClass::Drift { claim, found }),
        1 => wait().prop_map(FailureClass::Wait),
    ]
    .boxed()
}

/// Any standing.
pub fn standing() -> BoxedStrategy<Standing> {
    let quarantine = (one_of(QuarantineReason::ALL), text()).prop_map(|(reason, evidence)| Quarantine { reason, evidence });
    prop_oneof![
        Just(Standing::Active),
        wait().prop_map(Standing::Waiting),
        (step_id(), failure()).prop_map(|(step, failure)| Standing::Failed { step, failure: Box::new(failure) }),
        quarantine.prop_map(Standing::Quarantined),
    ]
    .boxed()
}

fn wait() -> BoxedStrategy<Wait> {
    (one_of(WaitKind::ALL), text(), maybe(ctid()), any::<Option<u32>>(), wall())
        .prop_map(|(kind, name, ctid, pid, since)| Wait { kind, name, ctid, pid, since })
        .boxed()
}

/// Any declaration.
pub fn declaration() -> BoxedStrategy<Declaration> {
    let subject = (run_id(), fleet(), ctid(), incarnation(), generation(), state());
    let repertoire = one_of([Repertoire::Common, Repertoire::Proxmox]);
    (subject, spec(), maybe(digest()), repertoire, standing(), wall())
        .prop_map(|((run, fleet, ctid, incarnation, generation, state), spec, template, repertoire, standing, at)| Declaration {
            run,
            fleet,
            ctid,
            incarnation,
            generation,
            spec: Arc::new(spec),
            template,
            repertoire,
            state,
            standing,
            at,
        })
        .boxed()
}

/// Any note.
pub fn note() -> BoxedStrategy<Note> {
    (run_id(), ctid(), incarnation(), generation(), topic(), state(), standing(), wall())
        .prop_map(|(run, ctid, incarnation, generation, topic, state, standing, at)| Note {
            run,
            ctid,
            incarnation,
            generation,
            topic,
            state,
            standing,
            at,
        })
        .boxed()
}

fn topic() -> BoxedStrategy<Topic> {
    let decision = prop_oneof![
        maybe(step_id()).prop_map(|step| Decision::NewBudget { step }),
        step_id().prop_map(|step| Decision::Rerun { step }),
        step_id().prop_map(|step| Decision::Skip { step }),
        Just(Decision::Remark),
    ];
    prop_oneof![
        1 => Just(Topic::Passed),
        1 => Just(Topic::Standing),
        1 => (init(), maybe(init())).prop_map(|(recorded, found)| Topic::InitLost { recorded, found }),
        1 => init().prop_map(|init| Topic::FoundRunning { init }),
        3 => decision.prop_map(Topic::Decided),
        1 => text().prop_map(|seen| Topic::Forgotten { seen }),
    ]
    .boxed()
}

/// Any beginning of a run.
pub fn run_opened() -> BoxedStrategy<RunOpened> {
    (run_id(), one_of(RunCommand::ALL), prop::collection::btree_map(ctid(), fleet(), 0..=4), any::<u32>(), wall())
        .prop_map(|(run, command, containers, jobs, at)| RunOpened { run, command, containers, jobs, at })
        .boxed()
}

/// Any end of a run.
pub fn run_closed() -> BoxedStrategy<RunClosed> {
    (run_id(), one_of(RunEnd::ALL), wall()).prop_map(|(run, end, at)| RunClosed { run, end, at }).boxed()
}

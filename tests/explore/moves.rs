//! What may happen next in a situation: every order of completions, every failure, every crash, every answer of a probe.
//!
//! Apart from what a thing does when it happens (`host`, `node`). Each bad thing costs something of the budget, and there is
//! no chance anywhere: what may happen stands here and is tried. Not here: in which order it is tried (`search`).

use std::rc::Rc;

use phoenix::driver::Lives;
use phoenix::engine::{Event, limits};
use phoenix::ids::{Ctid, Wall};
use phoenix::machine::{FailureClass, Report, StepResult, Wait, WaitKind};
use phoenix::plan::{Action, Effect, HoldBy};

use super::host::{Extent, Guest, Host, Left, ScriptEnd};
use super::invariants;
use super::look::failed;
use super::node::{Cut, Fleet, Node, Op, Phase};
use super::search::{Step, Violation};
use super::slips::Slip;

/// Everything that may happen next.
pub(crate) fn follow(fleet: &Fleet, node: &Node) -> Vec<Step<Node>> {
    let mut steps = Vec::new();
    match &node.phase {
        Phase::Down(lives) => {
            steps.push(Step { what: "resume".to_owned(), is_sure: true, next: node.recovered(fleet, lives) });
            steps.extend(words(fleet, node, lives));
        }
        Phase::Running(_) => {
            steps.extend(completions(node));
            steps.extend(answers(fleet, node));
            steps.extend(node.wakes.iter().map(|&ctid| woken(node, ctid)).collect::<Vec<_>>());
            steps.extend(deaths(node));
            steps.extend(meddling(node));
            let now = node.before.clone().unwrap_or_else(|| Cut { journal: Rc::clone(&node.journal), lives: node.lives() });
            steps.extend(crashes(node, &now, ""));
        }
        Phase::Ended(..) => {
            let now = Cut { journal: Rc::clone(&node.journal), lives: node.lives() };
            steps.extend(words(fleet, node, &now.lives));
            if node.left.downs > 0 {
                steps.extend(meddling(node));
            }
            steps.extend(crashes(node, &now, "after the end: "));
        }
    }
    steps
}

/// What a person may say while nobody is at work.
fn words(fleet: &Fleet, node: &Node, lives: &Lives) -> Vec<Step<Node>> {
    let said = |what: &str, next| Step { what: what.to_owned(), is_sure: false, next };
    let down = (node.left.downs > 0).then(|| said("down", node.taken_down(fleet, lives)));
    let up = (node.left.ups > 0).then(|| said("up", node.brought_up(fleet, lives)));
    down.into_iter().chain(up).collect()
}

/// How an effect that is under way may come out.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It succeeds, or the host refuses.
    Regular,
    /// It fails after having got so far.
    Fails(Class, Extent),
    /// Its shim is killed after it got so far, and this run is not: nobody knows.
    Unknown(Extent),
}

#[derive(Clone, Copy, Debug)]
enum Class {
    Transient,
    Permanent,
    Timeout,
}

/// What a kill makes of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is ended after having got so far; a script that got to its end left its result.
    Ended(Extent),
    /// It is a script that failed, and its result is there.
    Failed,
    /// Its shim goes on.
    GoesOn,
}

/// Each effect under way, in each way it may come out; and a crash between the transactions that follow.
fn completions(node: &Node) -> Vec<Step<Node>> {
    let mut steps = Vec::new();
    for (&ctid, op) in node.ops.iter().filter(|(_, op)| !op.orphan) {
        for outcome in outcomes(node, op) {
            let mut cuts = Vec::new();
            let what = format!("{} of {ctid}: {outcome:?}", op.effect.intent.step);
            let mut after = node.clone();
            let next = complete(&mut after, ctid, outcome, &mut cuts);
            for cut in &cuts {
                // What this very turn begins has not been handed to anybody yet.
                let mut between = node.clone();
                complete_on_host(&mut between, ctid, outcome);
                steps.extend(crashes(&between, cut, &format!("{what}, and between its transactions: ")));
            }
            let is_sure = matches!(outcome, Outcome::Regular);
            steps.push(Step { what, is_sure, next: next.map(|()| after) });
        }
    }
    steps
}

fn outcomes(node: &Node, op: &Op) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Regular];
    if node.left.failures > 0 {
        outcomes.extend([Outcome::Fails(Class::Transient, Extent::Nothing), Outcome::Fails(Class::Permanent, Extent::Nothing)]);
        outcomes.extend(extents(&node.host, &op.effect).into_iter().map(|extent| Outcome::Fails(Class::Timeout, extent)));
        if has_shim(&node.host, &op.effect) {
            outcomes.extend(extents(&node.host, &op.effect).into_iter().map(Outcome::Unknown));
        }
    }
    outcomes
}

fn complete(node: &mut Node, ctid: Ctid, outcome: Outcome, cuts: &mut Vec<Cut>) -> Result<(), Violation> {
    let report = complete_on_host(node, ctid, outcome);
    if node.host.slip == Some(Slip::LosesReports) {
        return Ok(());
    }
    node.turn(Event::Finished { ctid, report }, cuts)
}

fn complete_on_host(node: &mut Node, ctid: Ctid, outcome: Outcome) -> Report {
    let op = node.ops.remove(&ctid).expect("an effect under way");
    if !matches!(outcome, Outcome::Regular) {
        node.left.failures -= 1;
    }
    match outcome {
        Outcome::Regular => {
            let refused = node.host.carry_out(&op.effect, Extent::All);
            node.report(&op.effect, refused)
        }
        Outcome::Fails(class, extent) => {
            let refused = fail(node, &op.effect, extent);
            Report::bare(refused.unwrap_or_else(|| failed(class.into(), "it was told to fail here")))
        }
        Outcome::Unknown(extent) => {
            let refused = end(node, &op.effect, extent);
            Report::bare(refused.unwrap_or_else(|| StepResult::Unknown { why: "its shim is gone".to_owned() }))
        }
    }
}

impl From<Class> for FailureClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Transient => Self::Transient,
            Class::Permanent => Self::Permanent,
            Class::Timeout => Self::Timeout,
        }
    }
}

/// An effect fails: a script that was begun leaves its result.
fn fail(node: &mut Node, effect: &Effect, extent: Extent) -> Option<StepResult> {
    if matches!(effect.intent.action, Action::RunScript { .. }) && extent != Extent::Nothing {
        let refused = node.host.gate(effect);
        if refused.is_none() {
            node.host.run_script(effect, ScriptEnd::Failed);
        }
        return refused;
    }
    node.host.carry_out(effect, extent)
}

/// An effect is cut off without a result; only a script that got to its end has one.
fn end(node: &mut Node, effect: &Effect, extent: Extent) -> Option<StepResult> {
    let refused = node.host.carry_out(effect, extent);
    if node.host.slip == Some(Slip::ForgetsResults) {
        node.host.place_mut(effect.intent.ctid).left = None::<Left>;
    }
    refused
}

/// How far an effect can get, as far as anybody could tell afterwards.
fn extents(host: &Host, effect: &Effect) -> Vec<Extent> {
    use Extent::{All, Half, Nothing};
    match &effect.intent.action {
        Action::TakeSnapshot
        | Action::Hold { by: HoldBy::Snapshot, .. }
        | Action::Create { .. }
        | Action::Clone { .. }
        | Action::Destroy
        | Action::RunScript { .. } => vec![Nothing, Half, All],
        Action::Release if host.copies_live => vec![Nothing, Half, All],
        Action::FetchTemplate
        | Action::SetFirewall
        | Action::Configure
        | Action::Start { .. }
        | Action::Stop { .. }
        | Action::Hold { by: HoldBy::Stop, .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::AskHealth { .. }
        | Action::SetAutostart
        | Action::Repair { .. } => vec![Nothing, All],
        Action::Mark | Action::Release | Action::ReadIdmap { .. } | Action::AwaitReady { .. } => vec![Nothing],
    }
}

/// Whether a child of it outlives Phoenix.
fn has_shim(host: &Host, effect: &Effect) -> bool {
    match &effect.intent.action {
        Action::Release => host.copies_live,
        Action::FetchTemplate
        | Action::TakeSnapshot
        | Action::Create { .. }
        | Action::Clone { .. }
        | Action::Hold { .. }
        | Action::Stop { .. }
        | Action::Start { .. }
        | Action::RunScript { .. }
        | Action::AskHealth { .. }
        | Action::Destroy
        | Action::Repair { .. } => true,
        Action::SetFirewall
        | Action::Mark
        | Action::Configure
        | Action::ReadIdmap { .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::AwaitReady { .. }
        | Action::SetAutostart => false,
    }
}

/// What a probe of each step in doubt may answer. It waits for what still holds its locks first.
fn answers(fleet: &Fleet, node: &Node) -> Vec<Step<Node>> {
    let mut steps = Vec::new();
    for &ctid in node.settles.keys() {
        steps.push(settled(fleet, node, ctid, Answer::AsItIs));
        if node.left.failures > 0 {
            steps.push(settled(fleet, node, ctid, Answer::CannotTell));
            steps.push(settled(fleet, node, ctid, Answer::HeldByOther));
        }
        if is_waited_for(node, ctid) {
            steps.push(settled(fleet, node, ctid, Answer::HeldTooLong));
        }
        if node.left.failures > 0 && !orphans(node, ctid).is_empty() {
            steps.push(settled(fleet, node, ctid, Answer::OrphanFails));
        }
    }
    steps
}

/// Whether others were found to hold a lock that a doubt about `ctid` needs.
fn is_waited_for(node: &Node, ctid: Ctid) -> bool {
    matches!(&node.phase, Phase::Running(engine) if engine.waiting_for(ctid).is_some())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    AsItIs,
    CannotTell,
    /// Another process, no child of ours, held a lock beyond the deadline.
    HeldByOther,
    /// It still does, and has been waited for as long as a run waits.
    HeldTooLong,
    /// The child that was waited for failed.
    OrphanFails,
}

fn settled(fleet: &Fleet, node: &Node, ctid: Ctid, answer: Answer) -> Step<Node> {
    let mut next = node.clone();
    let doubt = next.settles.remove(&ctid).expect("a step in doubt");
    // That others hold the lock is paid for once.
    if !matches!(answer, Answer::AsItIs | Answer::HeldTooLong) {
        next.left.failures -= 1;
    }
    for holder in orphans(node, ctid) {
        let op = next.ops.remove(&holder).expect("an orphan");
        match answer {
            Answer::OrphanFails => drop(fail(&mut next, &op.effect, Extent::Half)),
            Answer::AsItIs | Answer::CannotTell | Answer::HeldByOther | Answer::HeldTooLong => {
                drop(end(&mut next, &op.effect, Extent::All));
            }
        }
    }
    let result = match answer {
        Answer::CannotTell => StepResult::Unknown { why: "the host cannot tell".to_owned() },
        Answer::HeldByOther | Answer::HeldTooLong => {
            let wait = Wait { kind: WaitKind::Lock, name: "others".to_owned(), ctid: Some(ctid), pid: None, since: Wall(0) };
            failed(FailureClass::Wait(wait), "others hold the lock")
        }
        Answer::AsItIs | Answer::OrphanFails => next.host.settle(&doubt.effect),
    };
    next.host.note_held(&doubt.effect, &result);
    let seen = next.host.seen(fleet.spec(ctid), doubt.effect.mark.journal).map(Box::new);
    let what = format!("{} of {ctid} is looked for, {answer:?}: {}", doubt.effect.intent.step, result.name());
    let mut now = next.now();
    if answer == Answer::HeldTooLong {
        now.moment = now.moment.after(limits::LOCK_WAIT_MAX);
    }
    let turned = next.turn_at(Event::Settled { ctid, report: Report::bare(result), seen }, &now, &mut Vec::new());
    let turned = turned.and_then(|()| match answer {
        Answer::HeldByOther | Answer::HeldTooLong => invariants::invariant_what_others_hold_stays_in_doubt(&next, ctid),
        Answer::AsItIs | Answer::CannotTell | Answer::OrphanFails => Ok(()),
    });
    Step { what, is_sure: answer == Answer::AsItIs, next: turned.map(|()| next) }
}

/// The orphans that hold a lock which a doubt about `ctid` needs.
fn orphans(node: &Node, ctid: Ctid) -> Vec<Ctid> {
    if node.host.slip == Some(Slip::IgnoresLocks) {
        return Vec::new();
    }
    let locks = node.settles[&ctid].effect.locks();
    let holds = |op: &Op| op.orphan && op.effect.locks().iter().any(|lock| locks.contains(lock));
    node.ops.iter().filter(|(_, op)| holds(op)).map(|(&holder, _)| holder).collect()
}

fn woken(node: &Node, ctid: Ctid) -> Step<Node> {
    let mut next = node.clone();
    next.wakes.remove(&ctid);
    let turned = next.turn(Event::Woke { ctid }, &mut Vec::new());
    Step { what: format!("{ctid} has waited"), is_sure: true, next: turned.map(|()| next) }
}

/// An init that ends by itself; nobody is told.
fn deaths(node: &Node) -> Vec<Step<Node>> {
    let up = node.host.places.iter().filter(|(_, place)| place.up.is_some() && node.left.failures > 0);
    let died = |ctid: Ctid| {
        let mut next = Node { surprised: true, ..node.clone() };
        next.left.failures -= 1;
        next.host.place_mut(ctid).up = None;
        Step { what: format!("the init of {ctid} ends"), is_sure: false, next: Ok(next) }
    };
    up.map(|(&ctid, _)| died(ctid)).collect()
}

/// People at the host itself.
fn meddling(node: &Node) -> Vec<Step<Node>> {
    let mut steps = Vec::new();
    for &ctid in node.host.places.keys().filter(|_| node.left.meddlers > 0) {
        for (what, guest) in [("is removed by hand", None), ("is replaced by a stranger", Some(Guest::stranger()))] {
            let mut next = meddled(node);
            let place = next.host.place_mut(ctid);
            let scripts = std::mem::take(&mut place.scripts);
            let ours = std::mem::replace(&mut place.guest, guest).filter(|guest| guest.incarnation.is_some());
            (place.up, place.left, place.held) = (None, None, None);
            // Who cannot come to be down cannot tell whether it is back.
            place.away = ours.map(|guest| (guest, scripts)).filter(|_| node.left.downs > 0).or(place.away.take());
            steps.push(Step { what: format!("{ctid} {what}"), is_sure: false, next: Ok(next) });
        }
        let mut back = meddled(node);
        let place = back.host.place_mut(ctid);
        if let Some((guest, scripts)) = place.away.take() {
            (place.guest, place.scripts, place.up) = (Some(guest), scripts, None);
            steps.push(Step { what: format!("{ctid} is put back"), is_sure: false, next: Ok(back) });
        }
        let mut unmarked = meddled(node);
        if let Some(guest) = unmarked.host.place_mut(ctid).guest.as_mut().filter(|guest| guest.marked) {
            guest.marked = false;
            steps.push(Step { what: format!("{ctid} loses its mark"), is_sure: false, next: Ok(unmarked) });
        }
    }
    steps
}

fn meddled(node: &Node) -> Node {
    let mut next = Node { surprised: true, ..node.clone() };
    next.left.meddlers -= 1;
    next
}

/// Every crash with the journal as in `cut`: of Phoenix, with everything that may become of its children; of the host.
fn crashes(node: &Node, cut: &Cut, prefix: &str) -> Vec<Step<Node>> {
    if node.left.crashes == 0 {
        return Vec::new();
    }
    let mut steps = Vec::new();
    let boots = if node.host.places.values().any(|place| place.guest.as_ref().is_some_and(|guest| guest.autostart)) {
        vec![Some(false), Some(true)]
    } else {
        vec![Some(false)]
    };
    // After the end of a run there is no Phoenix left to kill.
    let phoenix = matches!(node.phase, Phase::Running(_)).then_some(None);
    for boot in phoenix.into_iter().chain(boots) {
        for fates in all_fates(node, boot.is_some()) {
            let next = crashed(node, cut, &fates, boot);
            let named: Vec<String> = fates.iter().map(|(ctid, fate)| format!("{ctid} {fate:?}")).collect();
            let who = match boot {
                None => "Phoenix is killed",
                Some(false) => "the host goes down",
                Some(true) => "the host goes down and starts what it should at boot",
            };
            steps.push(Step { what: format!("{prefix}{who} ({})", named.join(", ")), is_sure: false, next: Ok(next) });
        }
    }
    steps
}

fn crashed(node: &Node, cut: &Cut, fates: &[(Ctid, Fate)], boot: Option<bool>) -> Node {
    let mut next = Node { phase: Phase::Down(Rc::clone(&cut.lives)), journal: Rc::clone(&cut.journal), ..node.clone() };
    next.left.crashes -= 1;
    for &(ctid, fate) in fates {
        let op = next.ops.remove(&ctid).expect("an effect under way");
        match fate {
            Fate::Ended(extent) => drop(end(&mut next, &op.effect, extent)),
            Fate::Failed => {
                next.left.failures -= 1;
                drop(fail(&mut next, &op.effect, Extent::All));
            }
            Fate::GoesOn => drop(next.ops.insert(ctid, Op { orphan: true, ..op })),
        }
    }
    if let Some(autostarts) = boot {
        next.host.crash(autostarts);
    }
    next.settles.clear();
    next.wakes.clear();
    next.before = None;
    next
}

/// Every combination of what becomes of the effects under way.
fn all_fates(node: &Node, of_host: bool) -> Vec<Vec<(Ctid, Fate)>> {
    let mut all = vec![Vec::new()];
    for (&ctid, op) in &node.ops {
        let mut fates: Vec<Fate> = extents(&node.host, &op.effect).into_iter().map(Fate::Ended).collect();
        if has_shim(&node.host, &op.effect) && !of_host {
            fates.push(Fate::GoesOn);
        }
        if matches!(op.effect.intent.action, Action::RunScript { .. }) && node.left.failures > 0 {
            fates.push(Fate::Failed);
        }
        all = all.iter().flat_map(|done| fates.iter().map(|&fate| [done.clone(), vec![(ctid, fate)]].concat())).collect();
    }
    // The budget covers one script that fails in a crash, not several at once.
    let failed = |fates: &Vec<(Ctid, Fate)>| fates.iter().filter(|(_, fate)| *fate == Fate::Failed).count();
    all.retain(|fates| failed(fates) <= node.left.failures as usize);
    all
}

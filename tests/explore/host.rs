//! The abstract host: as little of a host as the engine can tell apart.
//!
//! Each container is absent, half-made or whole, marked or not, up or down; a step has no pieces, only what it leaves when it
//! is cut off. Apart from `phoenix::host::sim`, which has pieces, disks, clocks and chance, and is far too large to be
//! explored. What a look says follows the table in `phoenix::host::sim` (`look`). Not here: when anything happens.

use std::collections::{BTreeMap, BTreeSet};

use phoenix::ids::{BootId, Ctid, Incarnation, Step, Target, Token, VolumeName, Wall};
use phoenix::machine::{Evidence, FailureClass, StepResult, Wait, WaitKind};
use phoenix::plan::{Action, CopyFrom, Effect, HoldBy, Init, Reason};

use super::look::{Which, clone_source, failed, init_lost, snapshot_of};
use super::slips::Slip;

/// One container id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) guest: Option<Guest>,
    /// The init that runs, by a number that no other ever had.
    pub(crate) up: Option<u32>,
    /// Whether it is being held for a clone, and how, as far as those who did it know.
    pub(crate) held: Option<HoldBy>,
    /// What became of the last start of each script in this container.
    pub(crate) scripts: BTreeMap<Step, ScriptEnd>,
    /// The intent of the script that was begun last in this boot.
    pub(crate) begun: Option<Token>,
    /// The result that a shim left, and of which intent.
    pub(crate) left: Option<Left>,
    /// What somebody has moved away, with its scripts, and may put back.
    pub(crate) away: Option<(Guest, BTreeMap<Step, ScriptEnd>)>,
}

/// What a shim leaves on the host's disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) token: Token,
    pub(crate) success: bool,
    /// Whether it outlives the boot.
    pub(crate) of_script: bool,
}

/// What lies at an id.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations can be met")]
pub(crate) struct Guest {
    /// The incarnation it was made for; nothing if others made it.
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) half: bool,
    pub(crate) marked: bool,
    /// Whether it was ever up, so that the kernel's map of it exists.
    pub(crate) mapped: bool,
    pub(crate) configured: bool,
    pub(crate) attached: BTreeSet<Target>,
    pub(crate) autostart: bool,
    /// The clone for whose sake it is locked.
    pub(crate) locked_for: Option<Ctid>,
    /// What the host's firewall knows of it.
    pub(crate) walled: bool,
    /// The snapshot before its volumes: half of one, or a whole one.
    pub(crate) point: Option<Extent>,
    /// The snapshot for its clones.
    pub(crate) copy: Option<Extent>,
}

/// What became of a start of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptEnd {
    Succeeded,
    Failed,
    /// It was killed and left no result.
    Cut,
}

/// How far a step got before it was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    Nothing,
    Half,
    All,
}

/// The whole host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) places: BTreeMap<Ctid, Place>,
    pub(crate) prepared: BTreeSet<VolumeName>,
    /// Whether the store has the one template that there is.
    pub(crate) fetched: bool,
    /// Whether containers can be copied while they go on.
    pub(crate) copies_live: bool,
    pub(crate) boot: u32,
    next_init: u32,
    /// What was done that must never be done, as it was done.
    pub(crate) harm: Vec<Harm>,
    /// What is wrong with this host on purpose.
    pub(crate) slip: Option<Slip>,
}

/// What must never be done to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    ForeignTouched(String),
    StartUnexplained(String),
    HeldSourceUp(String),
    LiveSourceStopped(String),
    AttachedWithoutMap(String),
}

impl Host {
    pub(crate) fn new(ctids: impl IntoIterator<Item = Ctid>, copies_live: bool, slip: Option<Slip>) -> Self {
        let places = ctids.into_iter().map(|ctid| (ctid, Place::default())).collect();
        Self { places, prepared: BTreeSet::new(), fetched: false, copies_live, boot: 0, next_init: 1, harm: Vec::new(), slip }
    }

    pub(crate) fn place(&self, ctid: Ctid) -> &Place {
        &self.places[&ctid]
    }

    pub(crate) fn place_mut(&mut self, ctid: Ctid) -> &mut Place {
        self.places.get_mut(&ctid).expect("a container of the fleet")
    }

    pub(crate) fn init(&self, ctid: Ctid) -> Option<Init> {
        self.place(ctid).up.map(|pid| Init { boot: self.boot_id(), pid, start_ticks: 1 })
    }

    pub(crate) fn boot_id(&self) -> BootId {
        format!("boot-{}", self.boot).parse().expect("a boot id")
    }

    pub(crate) fn is_of_this_boot(&self, effect: &Effect) -> bool {
        effect.intent.deadline.boot == self.boot_id()
    }

    /// Everything that ran is gone, and results that did not lie on a disk; the host comes back, with or without what it was
    /// told to start.
    pub(crate) fn crash(&mut self, autostarts: bool) {
        self.boot += 1;
        let ctids: Vec<Ctid> = self.places.keys().copied().collect();
        for ctid in ctids {
            let place = self.place_mut(ctid);
            (place.up, place.begun) = (None, None);
            place.left = place.left.filter(|left| left.of_script);
            if autostarts && place.guest.as_ref().is_some_and(|guest| guest.autostart && !guest.half && guest.lock().is_none()) {
                self.bring_up(ctid);
            }
        }
    }

    pub(crate) fn bring_up(&mut self, ctid: Ctid) {
        let init = self.next_init;
        self.next_init += 1;
        let mapped = self.slip != Some(Slip::MapsNothing);
        let place = self.place_mut(ctid);
        place.up = Some(init);
        if let Some(guest) = &mut place.guest {
            guest.mapped |= mapped;
        }
    }

    /// Takes a step as far as `extent`; what the host refuses, or finds done already, it says instead and changes nothing.
    pub(crate) fn carry_out(&mut self, effect: &Effect, extent: Extent) -> Option<StepResult> {
        let refused = self.gate(effect);
        if refused.is_none() {
            match extent {
                Extent::Nothing => {}
                Extent::Half => self.leave_half(effect),
                Extent::All => self.change(effect),
            }
        }
        refused
    }

    /// A source counts as held from when its hold is known to be done until its release is.
    pub(crate) fn note_held(&mut self, effect: &Effect, result: &StepResult) {
        let held = match result {
            StepResult::Done(Evidence::Held { by }) => Some(*by),
            StepResult::Done(Evidence::Released) => None,
            StepResult::Done(_)
            | StepResult::Failed(_)
            | StepResult::Absent
            | StepResult::Partial { .. }
            | StepResult::Foreign { .. }
            | StepResult::Gone
            | StepResult::Unknown { .. }
            | StepResult::Interrupted => return,
        };
        self.place_mut(effect.intent.ctid).held = held;
    }

    /// What the host looks at before it changes anything.
    pub(crate) fn gate(&self, effect: &Effect) -> Option<StepResult> {
        let place = self.place(effect.intent.ctid);
        let lost = |init: &Init| (self.init(effect.intent.ctid).as_ref() != Some(init)).then(init_lost);
        match &effect.intent.action {
            Action::TakeSnapshot | Action::Hold { by: HoldBy::Snapshot, .. } => {
                self.not_ours(effect).or_else(|| unless_absent(self.look(effect))).or_else(|| self.locked(effect.intent.ctid))
            }
            Action::FetchTemplate | Action::Create { .. } | Action::Mark | Action::Repair { .. } => unless_absent(self.look(effect)),
            Action::Clone { source, from, .. } => unless_absent(self.look(effect)).or_else(|| self.source_refuses(*source, *from)),
            Action::Destroy => {
                let up = || place.up.map(|_| failed(FailureClass::Transient, "it is up"));
                unless_absent(self.look(effect)).or_else(|| self.locked(effect.intent.ctid)).or_else(up)
            }
            Action::Start { .. } => {
                self.not_ours(effect).or_else(|| self.locked(effect.intent.ctid)).or_else(|| place.up.map(|_| self.look(effect)))
            }
            Action::ReadIdmap { init } | Action::AwaitReady { init } | Action::AskHealth { init } | Action::RunScript { init } => {
                self.not_ours(effect).or_else(|| lost(init))
            }
            Action::Hold { by: HoldBy::Stop, .. } | Action::Stop { .. } => {
                self.not_ours(effect).or_else(|| place.up.is_none().then(|| self.look(effect)))
            }
            Action::Configure | Action::SetFirewall | Action::Attach { .. } | Action::Detach { .. } | Action::SetAutostart => {
                self.not_ours(effect).or_else(|| self.locked(effect.intent.ctid))
            }
            Action::Release | Action::Prepare { .. } => self.not_ours(effect),
        }
    }

    fn source_refuses(&self, source: Ctid, from: CopyFrom) -> Option<StepResult> {
        let place = self.place(source);
        let whole = place.guest.as_ref().is_some_and(|guest| !guest.half && guest.marked);
        if !whole {
            return Some(failed(FailureClass::Permanent, "the clone source is not there"));
        }
        if from == CopyFrom::Snapshot {
            let copied = place.guest.as_ref().is_some_and(|guest| guest.copy == Some(Extent::All));
            let none = || failed(FailureClass::Permanent, "the clone source has no snapshot");
            return (!copied).then(none).or_else(|| self.locked(source));
        }
        if place.up.is_some() && self.slip != Some(Slip::HoldsInWordsOnly) {
            let drift = FailureClass::Drift { claim: format!("{source} is down"), found: "it is up".to_owned() };
            return Some(failed(drift, "the clone source is up"));
        }
        self.locked(source)
    }

    fn locked(&self, ctid: Ctid) -> Option<StepResult> {
        let name = self.place(ctid).guest.as_ref()?.lock()?;
        let wait = Wait { kind: WaitKind::Lock, name, ctid: Some(ctid), pid: None, since: Wall(0) };
        Some(failed(FailureClass::Wait(wait), "it is locked"))
    }

    fn leave_half(&mut self, effect: &Effect) {
        let ctid = effect.intent.ctid;
        match &effect.intent.action {
            Action::Create { .. } => self.place_mut(ctid).guest = Some(Guest { half: true, ..Guest::of(effect) }),
            Action::Clone { source, .. } => {
                self.lock_source(*source, Some(ctid));
                self.place_mut(ctid).guest = Some(Guest { half: true, ..Guest::of(effect) });
            }
            Action::Destroy => {
                if let Some(guest) = &mut self.place_mut(ctid).guest {
                    guest.half = true;
                }
            }
            Action::RunScript { .. } => self.run_script(effect, ScriptEnd::Cut),
            Action::TakeSnapshot => self.with_guest(ctid, |guest| guest.point = Some(Extent::Half)),
            Action::Hold { by: HoldBy::Snapshot, .. } => self.with_guest(ctid, |guest| guest.copy = Some(Extent::Half)),
            Action::Release => self.with_guest(ctid, |guest| guest.copy = guest.copy.map(|_| Extent::Half)),
            Action::FetchTemplate
            | Action::SetFirewall
            | Action::Mark
            | Action::Hold { by: HoldBy::Stop, .. }
            | Action::Configure
            | Action::Start { .. }
            | Action::ReadIdmap { .. }
            | Action::Stop { .. }
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart
            | Action::Repair { .. } => {}
        }
    }

    fn change(&mut self, effect: &Effect) {
        let ctid = effect.intent.ctid;
        self.note_trespass(effect);
        match &effect.intent.action {
            Action::Create { .. } => self.make(effect),
            Action::Clone { source, from, .. } => {
                if self.place(*source).up.is_some() && *from == CopyFrom::Current {
                    self.harm.push(Harm::HeldSourceUp(format!("{source} is copied to {ctid} while it is up")));
                }
                self.make(effect);
            }
            Action::Mark => self.with_guest(ctid, |guest| guest.marked = true),
            Action::Hold { by: HoldBy::Stop, .. } if self.slip == Some(Slip::HoldsInWordsOnly) => {}
            Action::Hold { by: HoldBy::Stop, .. } | Action::Stop { .. } => {
                if self.place(ctid).held == Some(HoldBy::Snapshot) && effect.intent.step.step != Step::DownStop {
                    self.harm.push(Harm::LiveSourceStopped(format!("{} of {ctid}", effect.intent.step)));
                }
                self.place_mut(ctid).up = None;
            }
            Action::FetchTemplate => self.fetched = true,
            Action::SetFirewall => self.with_guest(ctid, |guest| guest.walled = true),
            Action::TakeSnapshot => self.with_guest(ctid, |guest| guest.point = Some(Extent::All)),
            Action::Hold { by: HoldBy::Snapshot, .. } => {
                if self.slip == Some(Slip::StopsForSnapshots) {
                    self.harm.push(Harm::LiveSourceStopped(format!("{ctid} is stopped for its snapshot")));
                }
                self.with_guest(ctid, |guest| guest.copy = Some(Extent::All));
            }
            Action::Release if self.slip == Some(Slip::KeepsSnapshots) => {}
            Action::Release => self.with_guest(ctid, |guest| guest.copy = None),
            Action::Configure => self.with_guest(ctid, |guest| guest.configured = true),
            Action::Start { .. } => {
                if self.place(ctid).held.is_some() {
                    self.harm.push(Harm::HeldSourceUp(format!("{ctid} is started while it is held")));
                }
                self.bring_up(ctid);
            }
            Action::ReadIdmap { .. } | Action::AwaitReady { .. } => {}
            Action::AskHealth { .. } => {
                self.place_mut(ctid).left = Some(Left { token: effect.intent.token, success: true, of_script: false });
            }
            Action::Prepare { volume, .. } => {
                self.prepared.insert(volume.name.clone());
            }
            Action::Attach { mount, .. } => {
                if self.place(ctid).guest.as_ref().is_none_or(|guest| !guest.mapped) {
                    self.harm.push(Harm::AttachedWithoutMap(format!("{} to {ctid}", mount.at)));
                }
                self.with_guest(ctid, |guest| guest.attached.extend([mount.at.clone()]));
            }
            Action::Detach { mount } => self.with_guest(ctid, |guest| guest.attached.retain(|at| *at != mount.at)),
            Action::RunScript { .. } => self.run_script(effect, ScriptEnd::Succeeded),
            Action::SetAutostart => self.with_guest(ctid, |guest| guest.autostart = effect.spec.autostart.enabled),
            Action::Destroy => *self.place_mut(ctid) = Place::default(),
            Action::Repair { .. } => self.repair(effect),
        }
    }

    fn make(&mut self, effect: &Effect) {
        *self.place_mut(effect.intent.ctid) = Place { guest: Some(Guest::of(effect)), ..Place::default() };
    }

    fn repair(&mut self, effect: &Effect) {
        let ctid = effect.intent.ctid;
        match snapshot_of(effect) {
            Some(Which::Point) => return self.with_guest(ctid, |guest| guest.point = None),
            Some(Which::Copy) => return self.with_guest(ctid, |guest| guest.copy = None),
            None => {}
        }
        if let Some(source) = clone_source(effect) {
            self.lock_source(source, None);
        }
        *self.place_mut(ctid) = Place::default();
    }

    fn lock_source(&mut self, source: Ctid, target: Option<Ctid>) {
        self.with_guest(source, |guest| guest.locked_for = target);
    }

    fn with_guest(&mut self, ctid: Ctid, change: impl FnOnce(&mut Guest)) {
        if let Some(guest) = &mut self.place_mut(ctid).guest {
            change(guest);
        }
    }

    /// Counts a start of a script that came to `end`; one that ended by itself leaves its result.
    pub(crate) fn run_script(&mut self, effect: &Effect, end: ScriptEnd) {
        let intent = &effect.intent;
        let place = self.place(intent.ctid);
        let explained = match place.scripts.get(&intent.step.step) {
            None => true,
            Some(ScriptEnd::Failed | ScriptEnd::Cut) => intent.reason != Reason::First,
            Some(ScriptEnd::Succeeded) => intent.reason == Reason::Asked,
        };
        if !explained {
            let before = place.scripts.get(&intent.step.step);
            let what = format!("{} of {} for the reason {:?} after {before:?}", intent.step, intent.ctid, intent.reason);
            self.harm.push(Harm::StartUnexplained(what));
        }
        let place = self.place_mut(intent.ctid);
        place.scripts.insert(intent.step.step.clone(), end);
        place.begun = Some(intent.token);
        match end {
            ScriptEnd::Succeeded | ScriptEnd::Failed => {
                place.left = Some(Left { token: intent.token, success: end == ScriptEnd::Succeeded, of_script: true });
            }
            ScriptEnd::Cut => {}
        }
    }

    fn note_trespass(&mut self, effect: &Effect) {
        let intent = &effect.intent;
        let touched = match &intent.action {
            // These change a directory or nothing of the container.
            Action::FetchTemplate
            | Action::Prepare { .. }
            | Action::ReadIdmap { .. }
            | Action::AwaitReady { .. }
            | Action::AskHealth { .. } => false,
            // A person's word.
            Action::Mark => intent.reason != Reason::Asked && self.is_others(effect),
            Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Hold { .. }
            | Action::Release
            | Action::Configure
            | Action::Start { .. }
            | Action::Stop { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::RunScript { .. }
            | Action::SetAutostart
            | Action::Destroy
            | Action::Repair { .. } => self.is_others(effect),
        };
        if touched {
            self.harm.push(Harm::ForeignTouched(format!("{} of {}", intent.step, intent.ctid)));
        }
    }

    fn is_others(&self, effect: &Effect) -> bool {
        self.place(effect.intent.ctid).guest.as_ref().is_some_and(|guest| guest.incarnation != Some(effect.intent.incarnation))
    }
}

impl Guest {
    fn of(effect: &Effect) -> Self {
        Self { incarnation: Some(effect.intent.incarnation), ..Self::stranger() }.unmapped()
    }

    /// Whole, up once, and bearing no mark that counts.
    pub(crate) fn stranger() -> Self {
        Self {
            incarnation: None,
            half: false,
            marked: true,
            mapped: true,
            configured: false,
            attached: BTreeSet::new(),
            autostart: false,
            locked_for: None,
            walled: false,
            point: None,
            copy: None,
        }
    }

    /// The lock that stands in its configuration.
    fn lock(&self) -> Option<String> {
        let half = |snapshot: Option<Extent>| snapshot == Some(Extent::Half);
        if half(self.point) || half(self.copy) {
            return Some("snapshot".to_owned());
        }
        self.locked_for.map(|target| format!("clone to {target}"))
    }

    fn unmapped(self) -> Self {
        Self { mapped: false, ..self }
    }
}

fn unless_absent(result: StepResult) -> Option<StepResult> {
    (result != StepResult::Absent).then_some(result)
}

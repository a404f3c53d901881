//! Effects as the engine would record them, carried out on any host; specs, scripts and a template for them.
//!
//! Apart from the tests so that they read as facts. Not here: the host, and where its containers are.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix::host::{Host, Watch};
use phoenix::ids::{Ctid, Generation, IdMap, Incarnation, RunId, State, Step, StepId, Token};
use phoenix::machine::{Evidence, Report, StepResult, Wait};
use phoenix::manifest::{Autostart, HostOptions, OnInterrupt, Origin, Ready, ReadyProbe, Resources, Script, Spec};
use phoenix::manifest::{Mount, Owner, Ownership, Volume};
use phoenix::plan::{Action, Doubt, Effect, Init, Intent, Mark, Reason};
use phoenix_journal::{Digest, Epoch, Seq};

use crate::recorded::recorded;

/// The host ids of the test containers: root's own range in `/etc/subuid`, and what Proxmox takes for granted.
pub(crate) const HOST_ROOT: u32 = 100_000;

/// A host, and the sequence number of the next effect.
pub(crate) struct Hands {
    pub(crate) host: Box<dyn Host>,
    seq: AtomicU64,
}

/// Says nothing.
pub(crate) struct Quiet;

impl Watch for Quiet {
    fn waiting(&self, _: Wait) {}
}

impl Hands {
    pub(crate) fn new(host: Box<dyn Host>) -> Self {
        Self { host, seq: AtomicU64::new(100) }
    }

    pub(crate) fn effect(&self, spec: &Spec, step: StepId, action: Action) -> Effect {
        let seq = self.seq.load(Ordering::Relaxed);
        let mut token = [7; 16];
        token[..8].copy_from_slice(&seq.to_le_bytes());
        token[8..12].copy_from_slice(&std::process::id().to_le_bytes());
        token[12..].copy_from_slice(&spec.ctid.get().to_le_bytes());
        let intent = Intent {
            run: RunId::from_random([1; 16]),
            ctid: spec.ctid,
            incarnation: incarnation(spec.ctid),
            generation: Generation::FIRST,
            state: State::Declared,
            step,
            attempt: 1,
            reason: Reason::First,
            deadline: self.host.now().expect("a time").moment.after(Duration::from_secs(60)),
            token: Token::from_random(token),
            action,
        };
        Effect { intent, spec: Arc::new(spec.clone()), mark: mark(spec.ctid) }
    }

    /// Carries out one step.
    pub(crate) fn take(&self, spec: &Spec, step: Step, action: Action) -> Report {
        self.carry_out(self.effect(spec, step.id(), action))
    }

    pub(crate) fn carry_out(&self, effect: Effect) -> Report {
        let lease = self.host.lock(&effect.locks()).expect("the locks are free");
        let seq = Seq::new(self.seq.fetch_add(1, Ordering::Relaxed));
        self.host.carry_out(recorded(effect, seq), lease)
    }

    /// Carries out one step that must be `Done`.
    #[track_caller]
    pub(crate) fn done(&self, spec: &Spec, step: Step, action: Action) -> Evidence {
        let name = step.clone().id().to_string();
        let before = self.host.now().expect("a time").moment.boottime_ms;
        let report = self.take(spec, step, action);
        let after = self.host.now().expect("a time").moment.boottime_ms;
        eprintln!("{name}: {} ms", after - before);
        match report.result {
            StepResult::Done(evidence) => evidence,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Asks what became of a step that was never carried out, or carried out without an outcome.
    pub(crate) fn settle(&self, spec: &Spec, step: StepId, action: Action) -> StepResult {
        let effect = self.effect(spec, step, action);
        let seq = Seq::new(self.seq.fetch_add(1, Ordering::Relaxed));
        self.host.settle(&Doubt { seq, epoch: Epoch::new(1), effect }, &Quiet).result
    }

    /// Settles an effect that was carried out under this sequence number.
    pub(crate) fn settle_as(&self, effect: Effect, seq: u64) -> StepResult {
        self.host.settle(&Doubt { seq: Seq::new(seq), epoch: Epoch::new(1), effect }, &Quiet).result
    }

    /// The sequence number that the next effect gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    #[track_caller]
    pub(crate) fn created(&self, spec: &Spec) {
        self.done(spec, Step::DefineCreate, Action::Create { template: None });
    }

    #[track_caller]
    pub(crate) fn started(&self, spec: &Spec) -> Init {
        match self.done(spec, Step::RunStart, start(spec)) {
            Evidence::Started { init, idmap } => {
                assert_eq!(idmap, spec.idmap);
                init
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn stopped(&self, spec: &Spec) {
        assert_eq!(self.done(spec, Step::FinalizeStop, Action::Stop { init: None }), Evidence::Stopped);
    }

    /// Runs a script inside and returns its result and output.
    pub(crate) fn script(&self, spec: &Spec, init: &Init, text: &str) -> (StepResult, String) {
        let mut spec = spec.clone();
        spec.application = Some(script(text));
        let report = self.take(&spec, Step::ApplicationRun, Action::RunScript { init: init.clone() });
        let output = report.output.and_then(|output| output.kept).unwrap_or_default();
        (report.result, String::from_utf8_lossy(&output).into_owned())
    }
}

/// A small container of this number.
pub(crate) fn spec(ctid: Ctid, origin: Origin) -> Spec {
    Spec {
        ctid,
        hostname: format!("ct{ctid}").parse().expect("a host name"),
        origin,
        unprivileged: true,
        idmap: IdMap::shifted(HOST_ROOT, 65536).expect("a map"),
        resources: Resources { memory_mb: 128, swap_mb: 64, cores: Some(1), disk_gb: Some(1) },
        network: Vec::new(),
        mounts: Vec::new(),
        depends_on: BTreeSet::new(),
        features: Vec::new(),
        application: None,
        health: Vec::new(),
        ready: Ready { probe: ReadyProbe::Init, timeout: Duration::from_secs(10) },
        autostart: Autostart { enabled: true, order: Some(3), up_delay_s: None, down_timeout_s: None },
        host_options: HostOptions::default(),
    }
}

/// A volume at a directory, given to user 1000.
pub(crate) fn mount(name: &str, source: &Path, at: &str) -> Mount {
    let volume = Volume {
        name: name.parse().expect("a name"),
        source: source.to_owned(),
        owner: Owner { uid: 1000, gid: 1000 },
        mode: Some(0o750),
        ownership: Ownership::Chown,
        take_ownership: false,
        recursive: false,
        nosuid_mount: None,
    };
    Mount { volume, at: at.parse().expect("a target"), read_only: false }
}

pub(crate) fn ctid(number: u32) -> Ctid {
    Ctid::new(number).expect("in range")
}

pub(crate) fn incarnation(ctid: Ctid) -> Incarnation {
    let mut bytes = [0xa5; 16];
    bytes[..4].copy_from_slice(&ctid.get().to_le_bytes());
    Incarnation::from_random(bytes)
}

pub(crate) fn mark(ctid: Ctid) -> Mark {
    Mark {
        journal: "0102030405060708090a0b0c0d0e0f10".parse().expect("a journal id"),
        fleet: "homelab".parse().expect("a name"),
        ctid,
        incarnation: incarnation(ctid),
        epoch: Epoch::new(1),
    }
}

pub(crate) fn start(spec: &Spec) -> Action {
    Action::Start { purpose: phoenix::plan::StartPurpose::Run, idmap: spec.idmap.clone(), sources: Vec::new() }
}

pub(crate) fn script(text: &str) -> Script {
    Script {
        path: "apps/test.sh".into(),
        digest: Digest::of(text.as_bytes()),
        text: Some(text.as_bytes().into()),
        env: std::collections::BTreeMap::new(),
        args: Vec::new(),
        timeout: Duration::from_secs(30),
        retries: 0,
        on_interrupt: OnInterrupt::Rerun,
    }
}

/// A busybox system that comes up and stays, with further files.
pub(crate) fn template(path: &Path, files: &[(&str, &str, u32)]) {
    let mut archive = tar::Builder::new(std::fs::File::create(path).expect("a file"));
    for name in ["bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "var", "var/lib", "root", "srv"] {
        add(&mut archive, name, tar::EntryType::Directory, 0o755, &[], None);
    }
    let busybox = std::fs::read("/bin/busybox").expect("busybox");
    add(&mut archive, "bin/busybox", tar::EntryType::Regular, 0o755, &busybox, None);
    for name in ["sh", "sleep", "cat", "ls", "id", "nc", "touch", "stat", "true", "false", "hostname", "env", "mkdir", "echo", "kill"] {
        add(&mut archive, &format!("bin/{name}"), tar::EntryType::Symlink, 0o777, &[], Some("busybox"));
    }
    add(&mut archive, "sbin/init", tar::EntryType::Symlink, 0o777, &[], Some("../bin/busybox"));
    add(&mut archive, "etc/inittab", tar::EntryType::Regular, 0o644, b"::sysinit:/bin/true\n", None);
    add(&mut archive, "dev/zero", tar::EntryType::Char, 0o666, &[], None);
    for (name, text, mode) in files {
        add(&mut archive, name, tar::EntryType::Regular, *mode, text.as_bytes(), None);
    }
    archive.finish().expect("an archive");
}

fn add(archive: &mut tar::Builder<std::fs::File>, name: &str, kind: tar::EntryType, mode: u32, bytes: &[u8], link: Option<&str>) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    if let Some(link) = link {
        header.set_link_name(link).expect("a link");
    }
    archive.append_data(&mut header, name, bytes).expect("an entry");
}

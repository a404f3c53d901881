//! One fact for each shape that a document can take.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Debug;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{Digest, Epoch, JournalId, Seq};

use crate::ids::{Ctid, Generation, IdMap, Incarnation, RunId, State, StepId, Token, Wall};
use crate::machine::{
    Decision, Declaration, Evidence, Fact, Failure, FailureClass, Note, Outcome, Output, Prepared, Quarantine, QuarantineReason, RunClosed,
    RunCommand, RunEnd, RunOpened, Standing, StepResult, Topic, Wait, WaitKind,
};
use crate::manifest::{
    Address, Autostart, Device, EnvValue, Feature, Firewall, FirewallPolicy, HealthCheck, HostOptions, Mount, Nic, OnInterrupt, Origin,
    Owner, Ownership, Ready, ReadyProbe, Resources, Script, Spec, Template, Volume,
};
use crate::plan::{Action, Attachment, CopyFrom, HoldBy, Init, Intent, Mark, Reason, Repertoire, Source, StartPurpose};

const AT: Wall = Wall(1_767_225_600_000);

#[track_caller]
fn parsed<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a sample that parses")
}

fn ctid(number: u32) -> Ctid {
    Ctid::new(number).expect("a number in the range")
}

fn run() -> RunId {
    RunId::from_random([0x11; 16])
}

fn incarnation() -> Incarnation {
    Incarnation::from_random([0xa5; 16])
}

fn idmap() -> IdMap {
    IdMap::from_lxc(["u 0 100000 1000", "u 1000 1000 1", "u 1001 101001 64535", "g 0 100000 65536"]).expect("a map")
}

fn init() -> Init {
    Init { boot: parsed("9083b933-9dd6-4a5b-8b05-0b8f7cbf2f2e"), pid: 4711, start_ticks: 123_456 }
}

fn source() -> Source {
    Source { volume: parsed("media"), path: PathBuf::from("/srv/media"), device: 2049, inode: 18_446_744_073_709_551_615 }
}

fn volume() -> Volume {
    Volume {
        name: parsed("media"),
        source: PathBuf::from("/srv/media"),
        owner: Owner { uid: 1000, gid: 1000 },
        mode: Some(0o2775),
        ownership: Ownership::Chown,
        take_ownership: false,
        recursive: true,
        nosuid_mount: None,
    }
}

fn mapped_volume() -> Volume {
    let odd = PathBuf::from(OsString::from_vec(b"/srv/\xff".to_vec()));
    Volume { ownership: Ownership::Map, mode: None, nosuid_mount: Some(odd), ..volume() }
}

fn mount(volume: Volume) -> Mount {
    Mount { volume, at: parsed("/srv/media"), read_only: true }
}

fn script(on_interrupt: OnInterrupt) -> Script {
    let env = [
        ("LANG".to_owned(), EnvValue::Plain("C.UTF-8".to_owned())),
        ("PASSWORD".to_owned(), EnvValue::SecretFile(PathBuf::from("/etc/phoenix/password"))),
        ("TOKEN".to_owned(), EnvValue::SecretEnv("PHX_TOKEN".to_owned())),
    ];
    Script {
        path: PathBuf::from("features/base.sh"),
        digest: Digest::of(b"#!/bin/sh\n"),
        text: None,
        env: BTreeMap::from(env),
        args: vec!["--fast".to_owned(), "a \"b\"\n".to_owned()],
        timeout: Duration::from_secs(300),
        retries: 2,
        on_interrupt,
    }
}

fn nic(name: &str, address: Address) -> Nic {
    Nic { name: name.to_owned(), bridge: "br0".to_owned(), address, gateway: None, hwaddr: None, mtu: None, vlan: None, firewall: false }
}

/// With everything that a spec can have.
fn full_spec() -> Spec {
    let fixed = Nic {
        gateway: Some(parsed("10.0.0.1")),
        hwaddr: Some("aa:bb:cc:dd:ee:ff".to_owned()),
        mtu: Some(1500),
        vlan: Some(7),
        firewall: true,
        ..nic("eth0", Address::Static { ip: parsed("10.0.0.5"), prefix: 24 })
    };
    let v6 = nic("eth1", Address::Static { ip: parsed("fd00::5"), prefix: 64 });
    Spec {
        ctid: ctid(101),
        hostname: parsed("media.example"),
        origin: Origin::Template(Template::File(PathBuf::from("/var/cache/debian-12.tar.zst"))),
        unprivileged: true,
        idmap: idmap(),
        resources: Resources { memory_mb: 1024, swap_mb: 512, cores: Some(2), disk_gb: Some(8) },
        network: vec![fixed, v6, nic("eth2", Address::Dhcp), nic("eth3", Address::Manual)],
        mounts: vec![mount(volume()), mount(mapped_volume())],
        depends_on: BTreeSet::from([ctid(100), ctid(102)]),
        features: vec![Feature { name: parsed("base"), script: script(OnInterrupt::Rerun) }],
        application: Some(script(OnInterrupt::Ask)),
        health: vec![HealthCheck {
            name: parsed("http"),
            command: vec!["/usr/bin/curl".to_owned(), "-f".to_owned()],
            retries: 5,
            interval: Duration::from_millis(1500),
            timeout: Duration::from_secs(10),
        }],
        ready: Ready { probe: ReadyProbe::Init, timeout: Duration::from_secs(60) },
        autostart: Autostart { enabled: true, order: Some(3), up_delay_s: Some(5), down_timeout_s: Some(60) },
        host_options: HostOptions {
            storage: Some("local-zfs".to_owned()),
            lxc_features: BTreeMap::from([("nesting".to_owned(), "1".to_owned())]),
            fetch_template: true,
            snapshot_before_volumes: true,
            ..HostOptions::default()
        },
    }
}

/// With everything that schema 2 added.
fn full_options() -> HostOptions {
    let odd = PathBuf::from(OsString::from_vec(b"/dev/\xff".to_vec()));
    HostOptions {
        devices: vec![
            Device { path: PathBuf::from("/dev/dri/renderD128"), owner: Owner { uid: 0, gid: 104 }, mode: 0o660, deny_write: false },
            Device { path: odd, owner: Owner { uid: 1000, gid: 1000 }, mode: 0o400, deny_write: true },
        ],
        hookscript: Some("local:snippets/guard.pl".to_owned()),
        pool: Some("media".to_owned()),
        tags: BTreeSet::from(["prod".to_owned(), "web".to_owned()]),
        protection: true,
        nameservers: vec![parsed("10.0.0.1"), parsed("fd00::1")],
        searchdomain: Some("lan.example".to_owned()),
        timezone: Some("Europe/Vienna".to_owned()),
        firewall: Some(Firewall {
            enable: true,
            policy_in: FirewallPolicy::Drop,
            policy_out: FirewallPolicy::Accept,
            rules: vec!["IN ACCEPT -p tcp -dport 22".to_owned(), "OUT REJECT -dest 10.0.0.9".to_owned()],
        }),
        ..HostOptions::default()
    }
}

/// With one thing of schema 2, each alone.
fn single_options() -> Vec<HostOptions> {
    let HostOptions {
        storage: _,
        lxc_features: _,
        fetch_template: _,
        snapshot_before_volumes: _,
        devices,
        hookscript,
        pool,
        tags,
        protection,
        nameservers,
        searchdomain,
        timezone,
        firewall: _,
    } = full_options();
    let firewall =
        Some(Firewall { enable: false, policy_in: FirewallPolicy::Accept, policy_out: FirewallPolicy::Reject, rules: Vec::new() });
    vec![
        HostOptions { devices, ..HostOptions::default() },
        HostOptions { hookscript, ..HostOptions::default() },
        HostOptions { pool, ..HostOptions::default() },
        HostOptions { tags, ..HostOptions::default() },
        HostOptions { protection, ..HostOptions::default() },
        HostOptions { nameservers, ..HostOptions::default() },
        HostOptions { searchdomain, ..HostOptions::default() },
        HostOptions { timezone, ..HostOptions::default() },
        HostOptions { firewall, ..HostOptions::default() },
    ]
}

/// With as little as a spec can have.
fn bare_spec(origin: Origin, probe: ReadyProbe) -> Spec {
    Spec {
        ctid: ctid(101),
        hostname: parsed("db"),
        origin,
        unprivileged: false,
        idmap: IdMap::identity(),
        resources: Resources { memory_mb: 512, swap_mb: 0, cores: None, disk_gb: None },
        network: Vec::new(),
        mounts: Vec::new(),
        depends_on: BTreeSet::new(),
        features: Vec::new(),
        application: None,
        health: Vec::new(),
        ready: Ready { probe, timeout: Duration::from_secs(60) },
        autostart: Autostart { enabled: false, order: None, up_delay_s: None, down_timeout_s: None },
        host_options: HostOptions::default(),
    }
}

pub(in crate::codec::tests) fn declarations() -> Vec<Fact> {
    let declared = |spec: Spec| Declaration {
        run: run(),
        fleet: parsed("homelab"),
        ctid: ctid(101),
        incarnation: incarnation(),
        generation: Generation::FIRST,
        spec: Arc::new(spec),
        template: None,
        repertoire: Repertoire::Common,
        state: State::Declared,
        standing: Standing::Active,
        at: AT,
    };
    let template = Some(Digest::of(b"archive"));
    let stored = Origin::Template(Template::Stored("local:vztmpl/debian-12.tar.zst".to_owned()));
    let clone = || Origin::Clone { source: ctid(100) };
    let with = |host_options: HostOptions| declared(Spec { host_options, ..bare_spec(clone(), ReadyProbe::Init) });
    let declarations = [
        Declaration { template, ..declared(full_spec()) },
        declared(bare_spec(stored, ReadyProbe::Command(vec!["/bin/true".to_owned()]))),
        declared(bare_spec(clone(), ReadyProbe::Port(5432))),
        Declaration {
            generation: Generation::FIRST.next(),
            state: State::Done,
            ..declared(bare_spec(clone(), ReadyProbe::File(parsed("/run/ready"))))
        },
    ];
    let options = single_options().into_iter().chain([full_options()]).map(with);
    let elsewhere = Declaration { repertoire: Repertoire::Proxmox, ..declared(bare_spec(clone(), ReadyProbe::Init)) };
    declarations.into_iter().chain([elsewhere]).chain(options).map(|declaration| Fact::Declared(Box::new(declaration))).collect()
}

/// The first is as plain as an intent can be; the tests of refusals change it.
pub(in crate::codec::tests) fn intents() -> Vec<Fact> {
    let first = |state: State, step: &str, action: Action| Intent {
        run: run(),
        ctid: ctid(101),
        incarnation: incarnation(),
        generation: Generation::FIRST,
        state,
        step: parsed(step),
        attempt: 1,
        reason: Reason::First,
        deadline: parsed("9083b933-9dd6-4a5b-8b05-0b8f7cbf2f2e+60000"),
        token: Token::from_random([0x70; 16]),
        action,
    };
    let again = |reason: Reason, intent: Intent| Intent { attempt: 2, reason, ..intent };
    let retry = Reason::Retry { after: "exit 1".to_owned() };
    let start = |purpose, sources| Action::Start { purpose, idmap: idmap(), sources };
    let intents = [
        first(State::Declared, "define.create", Action::Create { template: None }),
        again(retry, first(State::Declared, "define.create", Action::Create { template: Some(Digest::of(b"archive")) })),
        first(State::Declared, "define.create.repair", Action::Repair { leftover: "a rootfs without configuration".to_owned() }),
        first(State::Declared, "define.clone", Action::Clone { source: ctid(100), incarnation: incarnation(), from: CopyFrom::Current }),
        first(State::Declared, "define.mark", Action::Mark),
        first(State::Done, "clone.hold", Action::Hold { init: Some(init()), by: HoldBy::Stop }),
        first(State::Volumed, "clone.release", Action::Release),
        first(State::Defined, "configure.set", Action::Configure),
        first(State::Configured, "finalize.start", start(StartPurpose::Finalize, Vec::new())),
        first(State::Configured, "finalize.idmap", Action::ReadIdmap { init: init() }),
        first(State::Configured, "finalize.stop", Action::Stop { init: Some(init()) }),
        first(State::Finalized, "volume.prepare[media]", Action::Prepare { volume: volume(), idmap: idmap() }),
        first(State::Finalized, "volume.attach[/srv/media]", Action::Attach { mount: mount(volume()), source: source(), idmap: idmap() }),
        first(State::Volumed, "volume.detach[/srv/media]", Action::Detach { mount: mount(mapped_volume()) }),
        first(State::Volumed, "run.start", start(StartPurpose::Run, vec![source()])),
        again(Reason::Lost, first(State::Volumed, "run.ready", Action::AwaitReady { init: init() })),
        again(Reason::Interrupted, first(State::Running, "feature.apply[base]", Action::RunScript { init: init() })),
        again(Reason::Asked, first(State::Featured, "application.run", Action::RunScript { init: init() })),
        first(State::Featured, "health.check[http]", Action::AskHealth { init: init() }),
        first(State::Featured, "autostart.set", Action::SetAutostart),
        first(State::Done, "down.stop", Action::Stop { init: None }),
        first(State::Done, "down.destroy", Action::Destroy),
        first(State::Declared, "template.fetch", Action::FetchTemplate),
        first(State::Declared, "template.fetch.repair", Action::Repair { leftover: "half of a file".to_owned() }),
        first(State::Declared, "define.clone", Action::Clone { source: ctid(100), incarnation: incarnation(), from: CopyFrom::Snapshot }),
        first(State::Defined, "firewall.set", Action::SetFirewall),
        first(State::Finalized, "snapshot.take", Action::TakeSnapshot),
        first(State::Done, "clone.hold", Action::Hold { init: Some(init()), by: HoldBy::Snapshot }),
    ];
    intents.map(|intent| Fact::Intended(Box::new(intent), AT)).to_vec()
}

fn outcome(step: &str, result: StepResult, state: State) -> Outcome {
    Outcome {
        run: run(),
        ctid: ctid(101),
        incarnation: incarnation(),
        generation: Generation::FIRST,
        intent: Seq::new(6),
        step: parsed(step),
        attempt: 1,
        result,
        recovered: false,
        output: None,
        state,
        standing: Standing::Active,
        at: AT,
    }
}

fn wait(kind: WaitKind) -> Wait {
    Wait { kind, name: "container 100".to_owned(), ctid: Some(ctid(100)), pid: Some(4711), since: AT }
}

fn failure(class: FailureClass) -> Failure {
    Failure {
        class,
        message: "the script failed; read its output".to_owned(),
        command: Some("lxc-attach -n 101 -- /bin/sh".to_owned()),
        status: Some("exit 3".to_owned()),
        tail: "E: no such package\n".to_owned(),
    }
}

fn successes() -> Vec<Outcome> {
    let done = |step: &str, evidence: Evidence, state: State| outcome(step, StepResult::Done(evidence), state);
    let prepared =
        Prepared { source: source(), host_uid: 1000, host_gid: 101_000, former: Some((0, 0, 0o755)), left_alone: vec!["a".to_owned()] };
    let attachment = Attachment { source: source(), at: parsed("/srv/media"), mechanism: "bind".to_owned(), read_only: true };
    let ran = Evidence::Ran { script: Digest::of(b"#!/bin/sh\n"), started: AT, ended: Wall(AT.0 + 5), skipped: false };
    vec![
        done("define.create", Evidence::Created { left_out: 2 }, State::Declared),
        done("define.clone", Evidence::Cloned { source: ctid(100), incarnation: incarnation(), shared_mounts: 0 }, State::Declared),
        done("define.mark", Evidence::Marked, State::Defined),
        done("clone.hold", Evidence::Held { by: HoldBy::Stop }, State::Volumed),
        done("template.fetch", Evidence::Fetched, State::Declared),
        done("firewall.set", Evidence::FirewallSet, State::Configured),
        done("snapshot.take", Evidence::Snapshot { name: "before-volumes".to_owned() }, State::Finalized),
        done("clone.hold", Evidence::Held { by: HoldBy::Snapshot }, State::Done),
        done("clone.release", Evidence::Released, State::Volumed),
        done("configure.set", Evidence::Configured { unenforced: vec!["disk_gb on a directory".to_owned()] }, State::Configured),
        done("finalize.start", Evidence::Started { init: init(), idmap: idmap() }, State::Configured),
        done("finalize.idmap", Evidence::Idmap { init: init(), idmap: idmap() }, State::Configured),
        done("finalize.stop", Evidence::Stopped, State::Finalized),
        done("volume.prepare[media]", Evidence::Prepared(prepared), State::Finalized),
        done("volume.attach[/srv/media]", Evidence::Attached(attachment), State::Volumed),
        done("volume.detach[/srv/media]", Evidence::Detached, State::Volumed),
        done("run.ready", Evidence::Ready { init: init(), basis: "init was executed".to_owned() }, State::Running),
        Outcome {
            recovered: true,
            output: Some(Output { digest: Digest::of(b"hello\n"), kept: None, bytes_written: 6 }),
            ..done("feature.apply[base]", ran, State::Featured)
        },
        done("health.check[http]", Evidence::Healthy { asked: 3 }, State::Featured),
        done("autostart.set", Evidence::AutostartSet { enabled: true }, State::Done),
        done("down.destroy", Evidence::Destroyed, State::Declared),
        done("define.create.repair", Evidence::Repaired, State::Declared),
    ]
}

fn setbacks() -> Vec<Outcome> {
    let script = |result: StepResult, standing: Standing| Outcome { standing, ..outcome("feature.apply[base]", result, State::Running) };
    let drift = FailureClass::Drift { claim: "mounted".to_owned(), found: "not mounted".to_owned() };
    let classes = [
        FailureClass::Transient,
        FailureClass::Timeout,
        FailureClass::Permanent,
        FailureClass::InitLost,
        drift,
        FailureClass::Wait(wait(WaitKind::Source)),
        FailureClass::MarkMissing,
        FailureClass::Undead,
        FailureClass::JournalOlder,
    ];
    let step = || parsed::<StepId>("feature.apply[base]");
    let failed = |class: FailureClass| {
        let standing = Standing::Failed { step: step(), failure: Box::new(Failure::new(FailureClass::Permanent, "no budget left")) };
        script(StepResult::Failed(failure(class)), standing)
    };
    let waiting = |kind| script(StepResult::Absent, Standing::Waiting(wait(kind)));
    let quarantined = |reason| {
        let seen = Quarantine { reason, evidence: "as seen".to_owned() };
        script(StepResult::Interrupted, Standing::Quarantined(seen))
    };
    let rest = [
        StepResult::Partial { leftover: "half a copy".to_owned() },
        StepResult::Foreign { owner: "journal 0102".to_owned() },
        StepResult::Gone,
        StepResult::Unknown { why: "the host did not answer".to_owned() },
    ];
    let failures = classes.map(failed).into_iter();
    let others = WaitKind::ALL.map(waiting).into_iter().chain(QuarantineReason::ALL.map(quarantined));
    failures.chain(others).chain(rest.map(|result| script(result, Standing::Active))).collect()
}

pub(in crate::codec::tests) fn outcomes() -> Vec<Fact> {
    successes().into_iter().chain(setbacks()).map(|outcome| Fact::Outcome(Box::new(outcome))).collect()
}

pub(in crate::codec::tests) fn notes() -> Vec<Fact> {
    let step = || parsed::<StepId>("application.run");
    let topics = [
        (Topic::Passed, State::Volumed),
        (Topic::InitLost { recorded: init(), found: None }, State::Volumed),
        (Topic::InitLost { recorded: init(), found: Some(Init { pid: 4712, ..init() }) }, State::Volumed),
        (Topic::FoundRunning { init: init() }, State::Volumed),
        (Topic::Standing, State::Featured),
        (Topic::Decided(Decision::NewBudget { step: None }), State::Featured),
        (Topic::Decided(Decision::NewBudget { step: Some(step()) }), State::Featured),
        (Topic::Decided(Decision::Rerun { step: step() }), State::Featured),
        (Topic::Decided(Decision::Skip { step: step() }), State::Featured),
        (Topic::Decided(Decision::Remark), State::Declared),
        (Topic::Forgotten { seen: "no directory".to_owned() }, State::Declared),
        (Topic::Decided(Decision::NewBudget { step: Some(parsed("snapshot.take")) }), State::Finalized),
    ];
    let note = |(topic, state)| Note {
        run: run(),
        ctid: ctid(101),
        incarnation: incarnation(),
        generation: Generation::FIRST,
        topic,
        state,
        standing: Standing::Active,
        at: AT,
    };
    topics.map(|noted| Fact::Noted(Box::new(note(noted)))).to_vec()
}

pub(in crate::codec::tests) fn runs_opened() -> Vec<Fact> {
    let containers = || BTreeMap::from([(ctid(101), parsed("homelab")), (ctid(1000), parsed("other"))]);
    RunCommand::ALL
        .map(|command| Fact::RunOpened(Box::new(RunOpened { run: run(), command, containers: containers(), jobs: 4, at: AT })))
        .to_vec()
}

pub(in crate::codec::tests) fn runs_closed() -> Vec<Fact> {
    RunEnd::ALL.map(|end| Fact::RunClosed(RunClosed { run: run(), end, at: AT })).to_vec()
}

pub(in crate::codec::tests) fn mark() -> Mark {
    let journal = JournalId::from_bytes([0x01; 16]);
    Mark { journal, fleet: parsed("homelab"), ctid: ctid(101), incarnation: incarnation(), epoch: Epoch::new(7) }
}

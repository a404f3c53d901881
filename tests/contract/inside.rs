//! Scripts, readiness and health: what runs inside, how it ends, and what is said of it.

use std::time::Duration;

use phoenix::ids::{State, Step};
use phoenix::machine::{Evidence, FailureClass, Report, StepResult, WaitKind};
use phoenix::manifest::{EnvValue, ReadyProbe, Spec};
use phoenix::plan::Trail;
use phoenix_journal::Epoch;

use super::fleets::{self, script_of};
use super::hands::mark;
use super::rig::{Rig, class_of, evidence_of};

fn running(rig: &mut Rig) -> Spec {
    let spec = rig.spec(0);
    rig.bring(&spec, State::Running);
    spec
}

fn with_script(spec: &Spec, text: &str) -> Spec {
    Spec { application: Some(script_of(text)), ..spec.clone() }
}

fn output_of(report: &Report) -> String {
    let kept = report.output.as_ref().and_then(|output| output.kept.clone()).unwrap_or_default();
    String::from_utf8_lossy(&kept).into_owned()
}

pub(crate) fn a_scripts_exit_status_and_output_are_exact(rig: &mut Rig) {
    let spec = running(rig);
    if !rig.site.runs_scripts() {
        return;
    }
    let ends = [("exit 1", "exit 1"), ("exit 7", "exit 7"), ("exit 126", "exit 126"), ("exit 255", "exit 255"), ("kill -9 $$", "exit 137")];
    for (end, status) in ends {
        let failing = with_script(&spec, &format!("#!/bin/sh\necho out; echo err >&2; {end}\n"));
        let effect = rig.effect(&failing, &Step::ApplicationRun);
        let seq = rig.hands.next_seq();
        let report = rig.hands.carry_out(effect.clone());
        assert_eq!(output_of(&report), "out\nerr\n", "{end}");
        for result in [report.result, rig.hands.settle_as(effect, seq)] {
            let StepResult::Failed(failure) = result else { panic!("{end}: {result:?}") };
            assert_eq!((failure.status.as_deref(), failure.tail.as_str()), (Some(status), "out\nerr"), "{end}");
        }
    }
    // Binary safe, no terminal between, nothing to read.
    let text = "#!/bin/sh\nprintf '\\000\\377\\r\\n'; cat; echo $0 | grep -q . && exit 0\n";
    let report = rig.take(&with_script(&spec, text), &Step::ApplicationRun);
    assert!(matches!(report.result, StepResult::Done(Evidence::Ran { skipped: false, .. })), "{:?}", report.result);
    assert_eq!(report.output.and_then(|output| output.kept).as_deref(), Some(&b"\0\xff\r\n"[..]));
}

pub(crate) fn a_scripts_environment_is_the_manifests_and_nothing_else(rig: &mut Rig) {
    let spec = running(rig);
    if !rig.site.runs_scripts() {
        return;
    }
    let mut asking = with_script(&spec, "#!/bin/sh\necho \"$#:$1:$2\"\nunset PWD SHLVL _ OLDPWD\nenv\n");
    let script = asking.application.as_mut().expect("an application");
    script.args = vec!["one two".to_owned(), "$(reboot)".to_owned()];
    script.env.insert("GREETING".to_owned(), EnvValue::Plain("hello  world\n$HOME".to_owned()));
    let report = rig.take(&asking, &Step::ApplicationRun);
    let text = output_of(&report);
    let (arguments, environment) = text.split_once('\n').expect("two parts");
    assert_eq!(arguments, "2:one two:$(reboot)");
    let mut found: Vec<&str> = environment.lines().filter(|line| !line.starts_with("PHOENIX_TOKEN=")).collect();
    found.sort_unstable();
    let mut wanted = vec![
        "$HOME".to_owned(),
        "GREETING=hello  world".to_owned(),
        "HOME=/root".to_owned(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("PHOENIX_CTID={}", spec.ctid),
        "PHOENIX_FLEET=homelab".to_owned(),
        format!("PHOENIX_HOSTNAME={}", spec.hostname),
        "container=lxc".to_owned(),
    ];
    wanted.extend(rig.site.environment());
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

pub(crate) fn a_result_that_was_left_is_what_a_probe_says(rig: &mut Rig) {
    let spec = rig.full(0);
    rig.bring(&spec, State::Running);
    let scripts = [rig.steps_into(State::Featured, &spec), vec![Step::ApplicationRun]].concat();
    for step in scripts {
        let effect = rig.effect(&spec, &step);
        let seq = rig.hands.next_seq();
        let taken = rig.hands.carry_out(effect.clone()).result;
        assert_eq!(rig.hands.settle_as(effect.clone(), seq), taken, "{step:?}");
        assert!(matches!(taken, StepResult::Done(_)), "{step:?}: {taken:?}");
        // It is that intent's, and says nothing of another.
        let other = rig.settle(&spec, &step);
        assert!(matches!(other, StepResult::Absent | StepResult::Interrupted), "{step:?}: {other:?}");
    }
}

pub(crate) fn a_deadline_ends_the_script_itself(rig: &mut Rig) {
    let spec = running(rig);
    let endless = with_script(&spec, "#!/bin/sh\ntrap '' TERM\nsleep 7654 & while :; do sleep 7654; done\n");
    let mut effect = rig.effect(&endless, &Step::ApplicationRun);
    effect.intent.deadline = rig.hands.host.now().expect("a time").moment.after(Duration::from_secs(1));
    let seq = rig.hands.next_seq();
    assert_eq!(class_of(rig.hands.carry_out(effect.clone()).result), FailureClass::Timeout);
    assert_eq!(class_of(rig.hands.settle_as(effect, seq)), FailureClass::Timeout);
    assert_eq!(rig.seen(spec.ctid).and_then(|seen| seen.init), Some(rig.init(&spec)), "the container stays up");
    if rig.site.runs_scripts() {
        let looking = with_script(&spec, "#!/bin/sh\ngrep -ls '[7]654' /proc/[0-9]*/cmdline; true\n");
        let report = rig.take(&looking, &Step::ApplicationRun);
        assert_eq!(output_of(&report), "", "nothing of it is left inside");
    }
}

pub(crate) fn readiness_is_asked_until_the_answer_is_yes(rig: &mut Rig) {
    let mut spec = rig.spec(0);
    rig.bring(&spec, State::Volumed);
    rig.done(&spec, &Step::RunStart);
    let Evidence::Ready { init, .. } = rig.done(&spec, &Step::RunReady) else { panic!("not ready") };
    assert_eq!(init, rig.init(&spec));
    if !rig.site.runs_scripts() {
        return;
    }
    let later = "#!/bin/sh\n(sleep 0.3; touch /tmp/there; nc -l -p 8080) >/dev/null 2>&1 &\n";
    let report = rig.take(&with_script(&spec, later), &Step::ApplicationRun);
    assert!(matches!(report.result, StepResult::Done(_)), "{report:?}");
    let probes = [
        ReadyProbe::File("/tmp/there".parse().expect("a target")),
        ReadyProbe::Port(8080),
        ReadyProbe::Command(vec!["test".into(), "-e".into(), "/tmp/there".into()]),
    ];
    for probe in probes {
        spec.ready.probe = probe;
        rig.done(&spec, &Step::RunReady);
    }
    spec.ready.probe = ReadyProbe::Port(9);
    let mut late = rig.effect(&spec, &Step::RunReady);
    late.intent.deadline = rig.hands.host.now().expect("a time").moment.after(Duration::from_millis(50));
    assert_eq!(class_of(rig.hands.carry_out(late).result), FailureClass::Timeout);
}

pub(crate) fn health_is_asked_as_often_as_the_manifest_says(rig: &mut Rig) {
    let mut spec = running(rig);
    spec.health = fleets::spec(100).health;
    let check = &mut spec.health[0];
    check.command = ["sh", "-c", "test -e /tmp/asked || { touch /tmp/asked; false; }"].map(str::to_owned).to_vec();
    (check.retries, check.interval) = (3, Duration::from_millis(20));
    let step = Step::HealthCheck(check.name.clone());
    let effect = rig.effect(&spec, &step);
    let seq = rig.hands.next_seq();
    let taken = rig.hands.carry_out(effect.clone()).result;
    let asked = if rig.site.runs_scripts() { 2 } else { 1 };
    assert_eq!(taken, StepResult::Done(Evidence::Healthy { asked }));
    assert!(matches!(rig.hands.settle_as(effect, seq), StepResult::Done(Evidence::Healthy { .. })));
    if rig.site.runs_scripts() {
        spec.health[0].command = vec!["false".to_owned()];
        let result = rig.take(&spec, &step).result;
        assert!(matches!(result, StepResult::Failed(_)), "{result:?}");
    }
}

pub(crate) fn a_secret_that_is_missing_is_waited_for_by_name(rig: &mut Rig) {
    let mut spec = with_script(&running(rig), "#!/bin/sh\necho \"$PASSWORD\"; [ \"$PASSWORD\" = hunter22 ]\n");
    let secret = rig.site.secret();
    spec.application.as_mut().expect("an application").env.insert("PASSWORD".to_owned(), EnvValue::SecretFile(secret.clone()));
    rig.site.show_secret(false);
    match class_of(rig.take(&spec, &Step::ApplicationRun).result) {
        FailureClass::Wait(wait) => {
            assert!(wait.kind == WaitKind::Secret && wait.name.contains(secret.to_str().expect("plain")), "{wait:?}");
        }
        other => panic!("{other:?}"),
    }
    rig.site.show_secret(true);
    let report = rig.take(&spec, &Step::ApplicationRun);
    assert!(matches!(report.result, StepResult::Done(_)), "{:?}", report.result);
    assert!(!output_of(&report).contains("hunter22"));
}

pub(crate) fn traces_tell_which_scripts_have_run(rig: &mut Rig) {
    let spec = rig.full(0);
    rig.bring(&spec, State::Running);
    let traces = |rig: &Rig| rig.again().traces(&spec, &mark(spec.ctid)).expect("traces");
    assert_eq!((traces(rig).scripts, traces(rig).unlike), (Vec::new(), None));
    let steps = [rig.steps_into(State::Featured, &spec), vec![Step::ApplicationRun]].concat();
    rig.through(&spec, &steps);
    let before = rig.print();
    let scripts = traces(rig).scripts;
    assert_eq!(rig.print(), before, "asking changes nothing");
    for step in &steps {
        let of_step = || scripts.iter().filter(|trace| trace.step == *step);
        assert!(of_step().any(|trace| matches!(trace.trail, Trail::Result { succeeded: true, .. })), "{step:?}: {scripts:?}");
        assert!(of_step().any(|trace| matches!(trace.trail, Trail::Note { .. })), "{step:?}: {scripts:?}");
    }
    assert_eq!(traces(rig).epoch, Epoch::new(1));
    // A check is no script, but the names of what its shim left must not come again.
    let check = Step::HealthCheck(spec.health[0].name.clone());
    let mut effect = rig.effect(&spec, &check);
    effect.mark.epoch = Epoch::new(7);
    evidence_of(&check, rig.hands.carry_out(effect).result);
    assert_eq!(traces(rig).epoch, Epoch::new(7));
    let mut other = spec.clone();
    other.resources.memory_mb += 1;
    assert!(rig.again().traces(&other, &mark(spec.ctid)).expect("traces").unlike.is_some());
}

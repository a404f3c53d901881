//! Looking at a host and taking its locks: neither changes anything.

use std::time::Duration;

use phoenix::host::{HostError, LockError};
use phoenix::ids::{State, Step};
use phoenix::machine::{FailureClass, WaitKind};
use phoenix::plan::Presence;
use phoenix_journal::JournalId;

use super::hands::mark;
use super::rig::{Rig, check_same, class_of};

pub(crate) fn an_observation_proves_whose_host_it_is_or_is_refused(rig: &mut Rig) {
    let journal = mark(rig.ctid(0)).journal;
    let host = &rig.hands.host;
    assert!(host.observe(Some(&journal), &[]).is_ok());
    host.settle_in(&journal).expect("settling in again does nothing");
    if rig.site.has_sentinels() {
        let other: JournalId = "ffffffffffffffffffffffffffffffff".parse().expect("32 hex digits");
        assert!(matches!(host.observe(Some(&other), &[]), Err(HostError::NotOurs { .. })));
    }
    let again = rig.again();
    assert!(again.observe(Some(&journal), &[]).is_ok());
    assert_eq!(again.territory().expect("a territory"), host.territory().expect("a territory"));
    assert_eq!(again.kind(), host.kind());
    rig.site.lose_proof();
    assert!(matches!(rig.hands.host.observe(Some(&journal), &[]), Err(HostError::NotOurs { .. })));
    assert!(!rig.site.has_sentinels() || rig.hands.host.observe(None, &[]).is_ok(), "whoever has no journal yet may look");
}

pub(crate) fn an_observation_says_what_is_there_and_nothing_of_what_is_not(rig: &mut Rig) {
    let spec = rig.full(0);
    rig.bring(&spec, State::Done);
    let before = rig.site.print();
    let ctids = [rig.ctid(0), rig.ctid(1)];
    let seen = rig.again().observe(Some(&mark(spec.ctid).journal), &ctids).expect("a look").containers;
    check_same(&rig.site.print(), &before, "after a look");
    assert_eq!(seen.keys().collect::<Vec<_>>(), [&spec.ctid]);
    let seen = &seen[&spec.ctid];
    assert_eq!(
        (&seen.presence, seen.mark.as_ref(), seen.init.as_ref()),
        (&Presence::Whole, Some(&mark(spec.ctid)), Some(&rig.init(&spec)))
    );
    let config = seen.config.as_ref().expect("a configuration");
    assert_eq!((config.autostart, config.idmap.as_ref()), (true, Some(&spec.idmap)));
    assert_eq!(config.hostname.as_deref(), Some(spec.hostname.as_str()));
    let mount = &spec.mounts[0];
    assert_eq!(config.mounts.keys().collect::<Vec<_>>(), [&mount.at]);
    let attached = &config.mounts[&mount.at];
    assert_eq!((&attached.source, attached.read_only), (&mount.volume.source, false));
}

pub(crate) fn a_lock_is_given_once_and_comes_back_when_dropped(rig: &mut Rig) {
    let (again, host) = (rig.again(), &rig.hands.host);
    let [one, two, three] = [rig.ctid(0), rig.ctid(1), rig.ctid(2)];
    let busy = |result: Result<_, LockError>| matches!(result, Err(LockError::Busy { ctid, .. }) if ctid == two);
    let lease = host.lock(&[one, two]).expect("free locks");
    assert!(busy(host.lock(&[two]).map(drop)) && busy(again.lock(&[two]).map(drop)));
    assert!(busy(again.lock(&[two, three]).map(drop)));
    assert!(again.lock(&[three]).is_ok(), "what was taken before the one that is held came back");
    drop(lease);
    assert!(again.lock(&[one, two]).is_ok());
    let held = rig.site.hold(two);
    assert!(busy(host.lock(&[two]).map(drop)) && busy(again.lock(&[two]).map(drop)));
    drop(held);
    assert!(host.lock(&[two]).is_ok());
}

pub(crate) fn a_lock_that_others_hold_past_the_deadline_is_waited_for(rig: &mut Rig) {
    let spec = rig.spec(0);
    rig.bring(&spec, State::Defined);
    let held = rig.site.hold(spec.ctid);
    let mut late = rig.effect(&spec, &Step::ConfigureSet);
    late.intent.deadline = rig.hands.host.now().expect("a time").moment.after(Duration::from_millis(50));
    match class_of(rig.hands.settle(late)) {
        FailureClass::Wait(wait) => assert_eq!(wait.kind, WaitKind::Lock),
        other => panic!("{other:?}"),
    }
    drop(held);
    rig.done(&spec, &Step::ConfigureSet);
}

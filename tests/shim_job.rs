//! Jobs of the host under their shim: results, deadlines, output, orphans, recovery. Needs no LXC.

mod shim_fixture;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use phoenix::ids::{Ctid, Moment};
use phoenix::shim::{
    Ending, InFlight, Inquiry, Kept, Lock, LockError, LockName, OUTPUT_HEAD_BYTES_MAX, OUTPUT_TAIL_BYTES_MAX, ResultError, RuntimeDir,
    RuntimeDirError, Secret, Settled, Settlement, end_bearers, living_bearers, prepare, recover, spawn,
};
use shim_fixture::{Place, binary, intent, kill, lives, now, number_in, output, run, shell, until};

const LONG: Duration = Duration::from_secs(60);

fn ask(place: &Place, seq: u64, job_token: phoenix::ids::Token, deadline: &Moment) -> (Settlement, Vec<InFlight>) {
    let seen = Mutex::new(Vec::new());
    let (results, locks, intent) = (place.results(), [place.lock_name()], intent(seq));
    let inquiry = Inquiry {
        intent: &intent,
        token: job_token,
        deadline,
        grace: Duration::from_millis(300),
        place: &results,
        runtime: &place.runtime,
        locks: &locks,
        clock: &place.clock,
        tasks: &[],
    };
    let settlement = recover(&inquiry, &|waiting| seen.lock().expect("one thread").push(waiting.clone())).expect("recovers");
    (settlement, seen.into_inner().expect("one thread"))
}

#[test]
fn a_job_leaves_its_exit_status_and_its_output() {
    let place = Place::new(900_100);
    let result = place.run(place.job(1, LONG, shell("echo out; echo err >&2; exit 3")));
    assert_eq!(result.ending, Ending::Exited(3));
    assert_eq!((output(&result).as_str(), result.output_bytes), ("out\nerr\n", 8));
    assert_eq!(result.intent, intent(1));
    assert!(result.started <= result.ended);
    assert_eq!(place.results().result_of(&intent(1)).expect("reads"), Some(result));
    assert!(matches!(place.results().result_of(&intent(1).clone_with_digest("other")), Err(ResultError::OtherIntent { .. })));
}

trait CloneWithDigest {
    fn clone_with_digest(&self, digest: &str) -> Self;
}

impl CloneWithDigest for phoenix::shim::IntentRef {
    fn clone_with_digest(&self, digest: &str) -> Self {
        Self { digest: digest.to_owned(), ..self.clone() }
    }
}

#[test]
fn a_job_that_dies_of_a_signal_says_which() {
    let place = Place::new(900_101);
    assert_eq!(place.run(place.job(1, LONG, shell("kill -9 $$"))).ending, Ending::Signalled(9));
}

#[test]
fn a_program_that_is_not_there_is_not_started() {
    let place = Place::new(900_102);
    let task = phoenix::shim::Task::Run {
        argv: vec!["/no/such/program".into()],
        env: phoenix::shim::Variables::default(),
        kept: Kept::LockAndToken,
    };
    assert!(matches!(place.run(place.job(1, LONG, task)).ending, Ending::NotStarted { .. }));
}

#[test]
fn the_environment_is_as_given_and_the_token_comes_with_it() {
    let place = Place::new(900_103);
    let job = place.job(1, LONG, shell("/usr/bin/env | /usr/bin/grep -v -e '^_=' -e '^PWD=' -e '^SHLVL=' -e '^OLDPWD=' | /usr/bin/sort"));
    let token = job.token;
    assert_eq!(output(&place.run(job)), format!("PATH=/usr/sbin:/usr/bin:/sbin:/bin\nPHOENIX_TOKEN={token}\n"));
}

#[test]
fn what_gets_nothing_has_neither_lock_nor_token_nor_the_job() {
    let place = Place::new(900_104);
    // Something that Phoenix itself was started with.
    fs::write(place.path("stranger"), "").expect("written");
    let stranger = shim_fixture::open(&place.path("stranger"));
    // Enough of them to get beyond the numbers that a shim is given something else under.
    let _inheritable: Vec<_> = (0..16).map(|_| rustix::io::dup(&stranger).expect("inheritable")).collect();
    let list = "/usr/bin/env | /usr/bin/grep -c PHOENIX; /bin/ls -l /proc/self/fd | /usr/bin/sed -n 's/.* -> //p'";
    let result = place.run(place.job(1, LONG, run(list, Kept::Nothing)));
    let text = output(&result);
    assert!(text.starts_with("0\n") && !text.contains("/ct/") && !text.contains("memfd") && !text.contains("stranger"), "{text}");
    let kept = output(&place.run(place.job(2, LONG, shell(list))));
    assert!(kept.starts_with("1\n") && kept.contains("/ct/lxc-900104") && !kept.contains("memfd"), "{kept}");
}

#[test]
fn the_lock_is_held_by_the_shim_alone_until_its_result_is_there() {
    let place = Place::new(900_105);
    let (pid, done) = (place.path("pid"), place.path("done"));
    let task = format!("echo $$ > {}; while [ ! -e {} ]; do sleep 0.02; done", pid.display(), done.display());
    let running = place.start(place.job(1, LONG, run(&task, Kept::Nothing)));
    let job = number_in(&pid);
    match Lock::take(&place.runtime, &place.lock_name()) {
        Err(LockError::Busy { holders, .. }) => {
            // Not the only one: what another test forks has a copy of every descriptor until it becomes its program.
            let shim = holders.iter().find(|holder| holder.pid == running.pid());
            assert!(shim.is_some_and(|shim| shim.command.contains("__shim 900105 application.run")), "{holders:?}");
            assert!(holders.iter().all(|holder| holder.pid != job), "{holders:?}");
        }
        other => panic!("{other:?}"),
    }
    fs::write(done, []).expect("written");
    assert_eq!(running.wait().expect("a result").ending, Ending::Exited(0));
    drop(place.lock());
}

#[test]
fn a_replaced_lock_file_is_noticed() {
    let place = Place::new(900_106);
    let lock = place.lock();
    assert!(lock.is_in_place().expect("looks"));
    fs::remove_file(lock.path()).expect("removed");
    assert!(!lock.is_in_place().expect("looks"));
    let second = place.lock();
    assert!(second.is_in_place().expect("looks") && !lock.is_in_place().expect("looks"));
}

#[test]
fn containers_and_volumes_have_locks_of_their_own() {
    let place = Place::new(900_107);
    let volume = LockName::Volume { device: 1, inode: 2 };
    let (_one, _two) = (place.lock(), Lock::take(&place.runtime, &volume).expect("free"));
    assert!(matches!(Lock::take(&place.runtime, &volume), Err(LockError::Busy { .. })));
    let other = LockName::Container { backend: "pct", ctid: place.ctid };
    drop(Lock::take(&place.runtime, &other).expect("another backend's is free"));
}

#[test]
fn a_runtime_directory_that_others_can_write_to_is_refused() {
    let place = Place::new(900_108);
    let open = place.path("open");
    fs::create_dir(&open).expect("made");
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("opened");
    assert!(matches!(RuntimeDir::at(&open), Err(RuntimeDirError::Open { .. })));
    let link = place.path("link");
    std::os::unix::fs::symlink(place.runtime.path(), &link).expect("linked");
    assert!(matches!(RuntimeDir::at(&link), Err(RuntimeDirError::Open { .. })));
    assert!(matches!(RuntimeDir::at("run"), Err(RuntimeDirError::Relative { .. })));
}

/// A shim that is killed while it makes its result durable leaves it whole under that name.
#[test]
fn a_result_counts_once_it_has_its_name() {
    let place = Place::new(900_177);
    place.run(place.job(1, LONG, shell("echo x")));
    assert_eq!(place.results().left().expect("there").results.len(), 1);
    let file = |name: &str| place.results().path().join(name);
    fs::rename(file("1-1.json"), file(".token.json")).expect("renamed");
    assert_eq!(place.results().left().expect("there").results, []);
}

#[test]
fn space_is_taken_before_the_intent_and_given_back_without_one() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new(900_109);
    let prepared = prepare(&place.results(), shim_fixture::token()).expect("space");
    let files: Vec<_> = fs::read_dir(place.results().path()).expect("there").flatten().collect();
    let blocks: u64 = files.iter().map(|file| file.metadata().expect("there").blocks() * 512).sum();
    assert!(files.len() == 3 && blocks >= OUTPUT_HEAD_BYTES_MAX + OUTPUT_TAIL_BYTES_MAX, "{blocks}");
    drop(prepared);
    assert_eq!(fs::read_dir(place.results().path()).expect("there").count(), 0);
    place.run(place.job(1, LONG, shell("echo x")));
    let mut names: Vec<_> = fs::read_dir(place.results().path()).expect("there").flatten().map(|file| file.file_name()).collect();
    names.sort();
    assert_eq!(names, ["1-1.json", "1-1.out", "1-1.shim"]);
    place.results().remove().expect("removed");
    place.results().remove().expect("nothing there is no error");
}

#[test]
fn the_deadline_asks_then_kills_and_is_told_from_a_failure() {
    let place = Place::new(900_110);
    let polite = "trap 'echo asked; exit 0' TERM; while :; do /bin/sleep 0.05; done";
    let result = place.run(place.job(1, Duration::from_millis(300), shell(polite)));
    assert_eq!(result.ending, Ending::TimedOut);
    assert!(output(&result).ends_with("asked\n"), "{}", output(&result));
    let deaf = place.path("deaf");
    let task = shell(&format!("trap '' TERM; echo $$ > {}; while :; do /bin/sleep 0.05; done", deaf.display()));
    let from = now();
    let result = place.run(place.job(2, Duration::from_millis(300), task));
    assert_eq!((result.ending, result.undead), (Ending::TimedOut, Vec::new()));
    assert!(!lives(number_in(&deaf)));
    assert!(from.elapsed() >= Duration::from_millis(790), "grace was given: {:?}", from.elapsed());
}

#[test]
fn the_deadline_ends_what_left_the_session() {
    let place = Place::new(900_111);
    let file = place.path("pid");
    let task = shell(&format!("setsid sh -c 'echo $$ > {}; exec sleep 60' & exit 0", file.display()));
    let result = place.run(place.job(1, Duration::from_millis(600), task));
    assert_eq!(result.ending, Ending::TimedOut);
    assert!(!lives(number_in(&file)));
}

#[test]
fn a_job_lasts_until_its_last_descendant_has_ended() {
    let place = Place::new(900_112);
    let done = place.path("done");
    let result = place.run(place.job(1, LONG, shell(&format!("(setsid sh -c 'sleep 0.4; echo x > {}' &) ; exit 5", done.display()))));
    assert_eq!(result.ending, Ending::Exited(5));
    assert!(done.exists(), "the daemon fell to the shim and was waited for");
}

#[test]
fn what_gets_nothing_is_not_waited_for_beyond_itself_and_its_descendants_are_never_ended() {
    let place = Place::new(900_113);
    let file = place.path("pid");
    let task = run(&format!("setsid sh -c 'echo $$ > {}; exec sleep 30' >/dev/null 2>&1 & exit 0", file.display()), Kept::Nothing);
    assert_eq!(place.run(place.job(1, LONG, task)).ending, Ending::Exited(0));
    let daemon = number_in(&file);
    assert!(lives(daemon));
    kill(daemon);
}

#[test]
fn a_gigabyte_of_output_neither_fills_the_disk_nor_blocks() {
    let place = Place::new(900_114);
    let result = place.run(place.job(1, LONG, shell("head -c 1000000000 /dev/zero; echo end")));
    assert_eq!((result.ending.clone(), result.output_bytes), (Ending::Exited(0), 1_000_000_004));
    let kept = result.output().expect("an output");
    assert!(kept.len() as u64 <= OUTPUT_HEAD_BYTES_MAX + OUTPUT_TAIL_BYTES_MAX + 100 && kept.ends_with(b"end\n"));
}

#[test]
fn an_output_that_cannot_be_written_does_not_cost_the_result() {
    let place = Place::new(900_124);
    let job = place.job(1, LONG, shell("echo x; exit 3"));
    let prepared = prepare(&place.results(), job.token).expect("space");
    let files = fs::read_dir(place.results().path()).expect("there").flatten().map(|file| file.path());
    let output = files.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "out")).expect("an output");
    fs::remove_file(&output).expect("removed");
    std::os::unix::fs::symlink("/dev/full", &output).expect("linked");
    let result = spawn(prepared, job, &[place.lock()], &binary()).expect("a shim").wait().expect("a result");
    assert_eq!((result.ending, result.output_bytes), (Ending::Exited(3), 2));
    assert!(result.output_lost.expect("said").contains("No space left"));
}

#[test]
fn secrets_are_blotted_before_a_byte_is_on_disk() {
    let place = Place::new(900_115);
    let mut job = place.job(1, LONG, shell("printf 'pw=hun'; sleep 0.2; printf 'ter2 bye\\n'; sleep 0.3"));
    job.secrets = vec![Secret::new("hunter2")];
    let running = place.start(job);
    let path = place.results().output_path(&intent(1));
    let seen = until("output", || fs::read_to_string(&path).ok().filter(|text| text.contains("****")));
    assert!(!seen.contains("hun"), "{seen}");
    assert_eq!(output(&running.wait().expect("a result")), "pw=******** bye\n");
}

#[test]
fn a_shim_is_not_ended_by_the_signals_of_a_terminal_or_a_shutdown() {
    use rustix::process::{Pid, Signal, kill_process};
    let place = Place::new(900_116);
    let running = place.start(place.job(1, LONG, shell("sleep 0.5")));
    let pid = Pid::from_raw(i32::try_from(running.pid()).expect("a pid")).expect("a pid");
    assert_eq!(rustix::process::getsid(Some(pid)).expect("a session"), pid);
    for signal in [Signal::INT, Signal::HUP, Signal::TERM, Signal::QUIT] {
        kill_process(pid, signal).expect("sent");
    }
    assert_eq!(running.wait().expect("a result").ending, Ending::Exited(0));
}

#[test]
fn a_binary_that_is_no_shim_starts_nothing() {
    let place = Place::new(900_117);
    let mark = place.path("mark");
    let job = place.job(1, LONG, shell(&format!("touch {}", mark.display())));
    let prepared = prepare(&place.results(), job.token).expect("space");
    let error = spawn(prepared, job, &[], &phoenix::shim::ShimBinary::At("/bin/true".into())).expect_err("no shim");
    assert!(error.to_string().contains("before it began"), "{error}");
    assert!(!mark.exists());
    assert_eq!(fs::read_dir(place.results().path()).expect("there").count(), 0);
}

#[test]
fn what_cannot_be_synced_is_no_success() {
    let place = Place::new(900_118);
    let mut job = place.job(1, LONG, shell("exit 0"));
    job.sync = vec![place.path("gone")];
    assert!(matches!(place.run(job).ending, Ending::NotDurable { .. }));
    let mut job = place.job(2, LONG, shell("exit 0"));
    job.sync = vec![place.tmp.path().to_owned()];
    assert_eq!(place.run(job).ending, Ending::Exited(0));
}

/// Not a test of its own: the Phoenix that is killed in others. Says its token and deadline, then waits for its shim.
#[test]
fn role_of_a_phoenix_that_is_killed() {
    let Some(dir) = std::env::var_os("SHIM_TEST_DIR") else { return };
    let dir = std::path::PathBuf::from(dir);
    let clock = phoenix::shim::Clock::from_file("/proc/sys/kernel/random/boot_id".as_ref()).expect("a boot id");
    let (runtime, place) = Place::at(&dir, 900_120);
    let ctid = Ctid::new(900_120).expect("in range");
    let within = std::env::var("SHIM_TEST_WITHIN_MS").expect("set").parse().expect("a number");
    let text = std::env::var("SHIM_TEST_SCRIPT").expect("set");
    let job = shim_fixture::job(ctid, &clock, 1, Duration::from_millis(within), shell(&text));
    let lock = Lock::take(&runtime, &LockName::Container { backend: "lxc", ctid }).expect("free");
    let prepared = prepare(&place, job.token).expect("space");
    let said = format!("{} {}\n", job.token, job.deadline);
    let running = spawn(prepared, job, &[lock], &binary()).expect("a shim");
    fs::write(dir.join("said.tmp"), said).expect("said");
    fs::rename(dir.join("said.tmp"), dir.join("said")).expect("said");
    let _ = running.wait();
}

struct Killed {
    place: Place,
    token: phoenix::ids::Token,
    deadline: Moment,
}

/// Starts a Phoenix, lets it start a job, and kills it.
#[expect(clippy::disallowed_methods, reason = "the Phoenix that is killed")]
fn killed_while(script: &str, within: Duration) -> Killed {
    let mut place = Place::new(900_120);
    place.ctid = Ctid::new(900_120).expect("in range");
    let mut phoenix = Command::new(std::env::current_exe().expect("this test"))
        .args(["role_of_a_phoenix_that_is_killed", "--exact", "--nocapture"])
        .env("SHIM_TEST_DIR", place.tmp.path())
        .env("SHIM_TEST_SCRIPT", script.replace("DIR", &place.tmp.path().display().to_string()))
        .env("SHIM_TEST_WITHIN_MS", within.as_millis().to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let said = until("the job", || fs::read_to_string(place.path("said")).ok());
    phoenix.kill().expect("killed");
    phoenix.wait().expect("dead");
    let (token, deadline) = said.trim().split_once(' ').expect("two words");
    Killed { token: token.parse().expect("a token"), deadline: deadline.parse().expect("a moment"), place }
}

fn shim_of(place: &Place) -> u32 {
    let text = fs::read_to_string(place.results().path().join("1-1.shim")).expect("recorded");
    text.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid")
}

#[test]
fn killing_phoenix_changes_nothing_for_the_job() {
    let Killed { place, token, deadline } = killed_while("echo begun; sleep 0.7; echo done > DIR/done; exit 4", LONG);
    let (settlement, seen) = ask(&place, 1, token, &deadline);
    let Settled::Result(result) = settlement.settled else { panic!("{:?}", settlement.settled) };
    assert_eq!((result.ending.clone(), output(&result).as_str()), (Ending::Exited(4), "begun\n"));
    assert!(place.path("done").exists() && settlement.locks.len() == 1);
    assert!(matches!(&seen[..], [InFlight::OwnJob(holders), ..] if holders.iter().any(|h| h.command.contains("__shim"))), "{seen:?}");
}

#[test]
fn without_its_shim_a_job_is_waited_for_and_then_unknown() {
    let Killed { place, token, deadline } = killed_while("echo $$ > DIR/pid; sleep 0.7; echo done > DIR/done", LONG);
    number_in(&place.path("pid"));
    kill(shim_of(&place));
    let (settlement, seen) = ask(&place, 1, token, &deadline);
    assert!(matches!(settlement.settled, Settled::NoResult), "{settlement:?}");
    assert!(place.path("done").exists() && settlement.locks.len() == 1);
    assert!(!seen.is_empty());
}

#[test]
fn without_its_shim_a_job_is_ended_at_its_deadline() {
    let script = "trap '' TERM; echo $$ > DIR/pid; while :; do sleep 0.1; done";
    let Killed { place, token, deadline } = killed_while(script, Duration::from_secs(1));
    let script = number_in(&place.path("pid"));
    kill(shim_of(&place));
    let from = now();
    let (settlement, _) = ask(&place, 1, token, &deadline);
    assert!(matches!(settlement.settled, Settled::NoResult), "{settlement:?}");
    assert!(!lives(script) && living_bearers(token).expect("looks").is_empty());
    // The shim's own time after the deadline need not be waited for when there is no shim.
    assert!(from.elapsed() < Duration::from_secs(20), "{:?}", from.elapsed());
}

#[test]
fn a_stranger_with_the_lock_is_waited_for_and_never_ended() {
    let place = Place::new(900_121);
    let running = place.start(place.job(9, LONG, shell("sleep 1")));
    let stranger = running.pid();
    let deadline = place.clock.moment().after(Duration::from_millis(300));
    let (settlement, seen) = ask(&place, 1, shim_fixture::token(), &deadline);
    assert!(matches!(&settlement.settled, Settled::HeldByOther(holders) if holders.iter().any(|h| h.pid == stranger)), "{settlement:?}");
    assert!(matches!(&seen[..], [InFlight::Other(_), ..]));
    assert_eq!(running.wait().expect("unharmed").ending, Ending::Exited(0));
    let (settlement, _) = ask(&place, 1, shim_fixture::token(), &deadline);
    assert!(matches!(settlement.settled, Settled::NoResult));
}

#[test]
fn a_record_of_another_boot_and_its_deadline_count_for_nothing() {
    let place = Place::new(900_122);
    let running = place.start(place.job(9, LONG, shell("sleep 1")));
    // The number and start time of a living process that holds the lock, in a record of another boot.
    let record = fs::read_to_string(place.results().path().join("1-9.shim")).expect("recorded");
    let process = record.split(' ').take(2).collect::<Vec<_>>().join(" ");
    fs::write(place.results().path().join("1-1.shim"), format!("{process} another-boot\n")).expect("written");
    let other = Moment { boot: "another-boot".parse().expect("plain"), boottime_ms: u64::MAX };
    let (settlement, seen) = ask(&place, 1, shim_fixture::token(), &other);
    assert!(matches!(settlement.settled, Settled::HeldByOther(_)) && matches!(&seen[..], [InFlight::Other(_)]), "{settlement:?}");
    assert_eq!(running.wait().expect("unharmed").ending, Ending::Exited(0));
    let (settlement, seen) = ask(&place, 1, shim_fixture::token(), &other);
    assert!(matches!(settlement.settled, Settled::NoResult) && seen.is_empty());
}

#[test]
fn everything_that_bears_a_token_can_be_ended_and_nothing_else() {
    let place = Place::new(900_123);
    let task = "setsid sh -c 'trap \"\" TERM; echo $$ > DIR/a; while :; do sleep 0.1; done' & env -u PHOENIX_TOKEN sh -c 'echo $$ > DIR/b; exec sleep 20' & wait";
    let job = place.job(1, LONG, shell(&task.replace("DIR", &place.tmp.path().display().to_string())));
    let token = job.token;
    let running = place.start(job);
    let (bearer, other) = (number_in(&place.path("a")), number_in(&place.path("b")));
    kill(running.pid());
    assert!(living_bearers(token).expect("looks").iter().any(|one| one.pid == bearer));
    assert_eq!(end_bearers(token, Duration::from_millis(200)).expect("ends"), []);
    assert!(!lives(bearer) && lives(other));
    kill(other);
    assert!(matches!(running.wait(), Err(ResultError::Missing { .. })));
}

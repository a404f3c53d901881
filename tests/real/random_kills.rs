//! SIGKILL of everything that can be killed, at random moments, in any order: Phoenix, shims, their children, all of them at
//! once, inits of containers, the host.
//!
//! A fleet is struck some ten times on its way up, brought to its end, judged, taken down (often struck again), judged, and
//! begun anew. `PHOENIX_TEST_ROUNDS` says how many kills in all. Not here: what is judged (`judge`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::fingerprint::Fingerprint;
use super::ground::{Ground, Kind, Said, Working, tell};
use super::judge::{Faults, PLACES, Strike, small};
use super::processes::{Process, all, now, pause, wall};

/// Kills in one run of this test, unless `PHOENIX_TEST_ROUNDS` says otherwise.
const ROUNDS: usize = 30;
/// How long a victim that is not there yet is waited for.
const LURK_MS_MAX: u128 = 400;
/// How often a fleet is run again that does not come to its end: each failure of a step may need one.
const RUNS_MAX: usize = 8;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Phoenix,
    Shim,
    /// A process below a shim, on the host or inside.
    Child,
    /// A `pct` or its worker; where there is none, a child.
    Program,
    /// Phoenix, all shims, and what is below them.
    All,
    Init,
    /// What watches over an init, and the init with it, so that nobody cleans up.
    Monitor,
    Host,
}

/// How often each is drawn.
const VICTIMS: [Victim; 14] = [
    Victim::Phoenix,
    Victim::Phoenix,
    Victim::Phoenix,
    Victim::Shim,
    Victim::Shim,
    Victim::Child,
    Victim::Child,
    Victim::Program,
    Victim::All,
    Victim::All,
    Victim::Init,
    Victim::Init,
    Victim::Monitor,
    Victim::Host,
];
/// Those that leave a trace on a fleet that is done already.
const VICTIMS_WHEN_DONE: [Victim; 3] = [Victim::Init, Victim::Monitor, Victim::Host];

struct Storm<'a> {
    ground: &'a Ground,
    dice: Dice,
    /// How long the fleet takes undisturbed.
    whole: Duration,
    wanted: Fingerprint,
    from: Instant,
    kills: BTreeMap<Victim, usize>,
    bring_ups: usize,
    boots: usize,
    /// The journal's last entry before this bring-up.
    rows: u64,
    faults: Faults,
    /// Who was killed in this bring-up, for whoever has to find out why.
    victims: Vec<String>,
    /// When anybody else than Phoenix alone was killed in this bring-up.
    strikes: Vec<Strike>,
}

impl Storm<'_> {
    fn all_kills(&self) -> usize {
        self.kills.values().sum()
    }

    /// From nothing to done with up to `most` kills in between, judged; and down again, judged.
    fn round(&mut self, most: usize) {
        self.rows = self.last_row();
        self.victims.clear();
        self.strikes.clear();
        self.strike_on_the_way_up(most);
        self.run_to_the_end(|ground, again| if again { ground.run_up() } else { ground.run(&["resume"]) });
        self.bring_ups += 1;
        let faults = self.ground.judge_up(&self.wanted, &self.strikes);
        self.take(faults, "up");
        self.ground.invariant_journal_is_clean();

        if self.dice.below(2) == 0 {
            let phoenix = self.ground.start(&["down", "--all", "--yes"]);
            pause(self.dice.below(1500));
            if let Some(phoenix) = self.strike(phoenix, VICTIMS.as_slice()) {
                check_code(&phoenix.wait());
            }
        }
        if self.dice.below(3) == 0 {
            // A change of mind: what was stopped comes up again, what is gone is made anew. What is half gone waits for a person.
            let said = self.ground.run_up();
            assert!([0, 1].contains(&said.code), "{}: {}", said.code, said.all());
            if said.code == 0 {
                let faults = self.ground.judge_up(&self.wanted, &self.strikes);
                self.take(faults, "up after down");
            }
        }
        self.run_to_the_end(|ground, _| ground.run(&["down", "--all", "--yes"]));
        let faults = self.ground.judge_down();
        self.take(faults, "down");
    }

    fn strike_on_the_way_up(&mut self, most: usize) {
        let until = self.all_kills() + most;
        let mut at_work = None;
        while self.all_kills() < until {
            let mut phoenix: Working = at_work.take().unwrap_or_else(|| self.go_on());
            // Short waits more often, so that one bring-up sees many kills.
            let longest = u64::try_from(self.whole.as_millis()).expect("short") >> self.dice.below(5);
            pause(self.dice.below(longest));
            if !phoenix.has_ended() {
                at_work = self.strike(phoenix, VICTIMS.as_slice());
                continue;
            }
            let said = phoenix.wait();
            check_code(&said);
            if said.code == 0 {
                if self.dice.below(2) == 0 {
                    return;
                }
                let phoenix = self.go_on();
                at_work = self.strike(phoenix, VICTIMS_WHEN_DONE.as_slice());
            } else {
                // A step's budget is spent, as it is meant to be when its child is killed again and again.
                at_work = Some(self.ground.start_up());
            }
        }
    }

    /// Phoenix again: from the journal if it knows of a run, else from the manifest.
    fn go_on(&self) -> Working {
        if self.last_row() > self.rows { self.ground.start(&["resume"]) } else { self.ground.start_up() }
    }

    /// The steps under way.
    fn steps(&self) -> Vec<Option<String>> {
        PLACES.iter().map(|&place| self.ground.open_step(place)).collect()
    }

    fn last_row(&self) -> u64 {
        if !self.ground.journal().exists() {
            return 0;
        }
        self.ground.positions().iter().map(|position| position.last_seq.get()).max().unwrap_or_default()
    }

    /// Kills one of `victims`; what is left of Phoenix.
    fn strike(&mut self, mut phoenix: Working, victims: &[Victim]) -> Option<Working> {
        let victim = *self.dice.pick(victims).expect("somebody");
        let (steps, from) = (self.steps(), wall());
        let at_once = |hit: bool| hit.then(|| Strike { from, to: wall(), hit: None, is_init: false });
        let strike = match victim {
            Victim::Phoenix => at_once(!phoenix.has_ended()),
            Victim::Shim => self.lurk(false, |ground| shims(ground).0),
            Victim::Program if self.ground.kind() == Kind::Pct => self.lurk(false, programs),
            Victim::Child | Victim::Program => self.lurk(false, |ground| shims(ground).1),
            Victim::All => {
                let alive = !phoenix.has_ended();
                phoenix.signal(rustix::process::Signal::KILL);
                let (shims, below) = shims(self.ground);
                shims.iter().chain(&below).for_each(|(one, _)| one.kill());
                at_once(alive || !shims.is_empty())
            }
            Victim::Init => self.lurk(true, inits),
            Victim::Monitor => self.lurk(true, monitors),
            Victim::Host => {
                let alive = !phoenix.has_ended() || !inits(self.ground).is_empty() || !shims(self.ground).0.is_empty();
                self.boots += 1;
                self.ground.crash_host(self.boots);
                at_once(alive)
            }
        };
        *self.kills.entry(victim).or_default() += usize::from(strike.is_some());
        self.victims.extend(strike.is_some().then(|| format!("{victim:?} in {steps:?} at {:?}", self.from.elapsed())));
        if victim != Victim::Phoenix {
            self.strikes.extend(strike);
        }
        match victim {
            Victim::Phoenix | Victim::All | Victim::Host => {
                phoenix.kill();
                None
            }
            Victim::Shim | Victim::Child | Victim::Program | Victim::Init | Victim::Monitor => Some(phoenix),
        }
    }

    /// Waits a little for victims, each with the container that is hit, and kills one.
    fn lurk(&mut self, is_init: bool, victims: impl Fn(&Ground) -> Victims) -> Option<Strike> {
        let since = now();
        while since.elapsed().as_millis() < LURK_MS_MAX {
            let found = victims(self.ground);
            if let Some((victim, hit)) = self.dice.pick(&found) {
                self.victims.push(format!("{victim:?}"));
                let inits = if victim.is_monitor() { all() } else { Vec::new() };
                let from = wall();
                victim.kill();
                inits.iter().filter(|init| init.parent == victim.pid).for_each(Process::kill);
                return Some(Strike { from, to: wall(), hit: *hit, is_init });
            }
            pause(2);
        }
        None
    }

    /// Runs Phoenix, undisturbed, until it says that all is well; `run` is told whether it is asked again.
    fn run_to_the_end(&self, run: impl Fn(&Ground, bool) -> Said) {
        for count in 0..RUNS_MAX {
            let again = count > 0 || self.last_row() == self.rows;
            let said = run(self.ground, again);
            check_code(&said);
            if said.code == 0 {
                return;
            }
        }
        let said = self.ground.run(&["status"]);
        panic!("it does not come to its end: {}\n{}\nkilled: {:#?}", self.line(), said.all(), self.victims);
    }

    #[track_caller]
    fn take(&mut self, faults: Faults, after: &str) {
        let well = faults.is_empty();
        self.faults = faults;
        assert!(well, "after {after}: {}\n{:#?}\nkilled: {:#?}", self.line(), self.faults, self.victims);
    }

    fn line(&self) -> String {
        let mut by_kind = String::new();
        for (victim, count) in &self.kills {
            write!(by_kind, "{}{}:{count}", if by_kind.is_empty() { "" } else { "," }, format!("{victim:?}").to_lowercase()).expect("text");
        }
        format!(
            "kills: host={} rounds={} by_kind={by_kind} bring_ups={} lost={} doubled={} leaked={} seed={} seconds={}",
            self.ground.kind().name(),
            self.all_kills(),
            self.bring_ups,
            self.faults.lost.len(),
            self.faults.doubled.len(),
            self.faults.leaked.len(),
            self.dice.seed(),
            self.from.elapsed().as_secs()
        )
    }
}

impl Ground {
    fn start_up(&self) -> Working {
        let manifest = self.path("fleet.json");
        self.start(&["up", manifest.to_str().expect("plain")])
    }

    fn run_up(&self) -> Said {
        self.start_up().wait()
    }
}

/// Well, or a container that is not where it should be; nothing else may come of a kill, and nothing that a person has to
/// decide.
#[track_caller]
fn check_code(said: &Said) {
    assert!([0, 1].contains(&said.code), "{}: {}", said.code, said.all());
    // Of one that was moved away, to be destroyed, by a Phoenix that was killed, the next one says that it is gone.
    let asks = said.all().lines().any(|line| line.contains("quarantined") && !line.contains("(gone)"));
    assert!(!asks, "{}", said.all());
}

fn inits(ground: &Ground) -> Victims {
    PLACES.iter().filter_map(|&place| Some((Process::of(ground.init(place)?)?, Some(place)))).collect()
}

fn monitors(ground: &Ground) -> Victims {
    inits(ground).into_iter().filter_map(|(init, place)| Some((Process::of(init.parent)?, place))).collect()
}

/// Who can be killed, each with the container that is hit; `None` if any may be.
type Victims = Vec<(Process, Option<u32>)>;

/// The commands of Proxmox that are at work, and their workers. Which container one is about it may not say.
fn programs(ground: &Ground) -> Victims {
    let directory = ground.path("pve/usr");
    let is_one = |one: &Process| fs::read_link(format!("/proc/{}/exe", one.pid)).is_ok_and(|program| program.starts_with(&directory));
    all().into_iter().filter(is_one).map(|one| (one, None)).collect()
}

/// The ground's shims, and all that is below them but containers, each with the container that it works on.
fn shims(ground: &Ground) -> (Victims, Victims) {
    let all = all();
    let place_of = |one: &Process| PLACES.into_iter().find(|&place| one.argv.get(2) == Some(&ground.ctid(place).to_string()));
    let shims = all.iter().filter(|one| one.is_shim()).filter_map(|shim| Some((shim.clone(), Some(place_of(shim)?)))).collect::<Vec<_>>();
    let mut below = Vec::new();
    let mut parents: Vec<(u32, Option<u32>)> = shims.iter().map(|(shim, place)| (shim.pid, *place)).collect();
    while let Some((parent, place)) = parents.pop() {
        for child in all.iter().filter(|one| one.parent == parent && !one.is_monitor()) {
            parents.push((child.pid, place));
            below.push((child.clone(), place));
        }
    }
    (shims, below)
}

fn random_kills_of_everything(kind: Kind) {
    let Some(ground) = Ground::on(kind, 30) else { return };
    let rounds = std::env::var("PHOENIX_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let dice = Dice::new();
    small(&ground);
    if let Some(pve) = ground.pve() {
        // Else they are over before they are seen.
        for piece in ["create.volume", "clone.locks", "clone.volume", "snapshot.freeze", "snapshot.volume", "start.locked"] {
            pve.delay(piece, 60).expect("ordered");
        }
    }
    let from = now();
    ground.up(0);
    let whole = from.elapsed();
    let wanted = ground.world();
    let faults = ground.judge_up(&wanted, &[]);
    assert!(faults.is_empty(), "without a kill: {faults:#?}");
    ground.down(0);
    let mut storm = Storm {
        ground: &ground,
        dice,
        whole,
        wanted,
        from,
        kills: BTreeMap::new(),
        bring_ups: 0,
        boots: 0,
        rows: 0,
        faults: Faults::default(),
        victims: Vec::new(),
        strikes: Vec::new(),
    };
    while storm.all_kills() < rounds {
        let most = 6 + usize::try_from(storm.dice.below(9)).expect("small");
        storm.round(most.min(rounds - storm.all_kills()));
    }
    tell(&storm.line());
}

on_each_host! {
    random_kills_of_everything
}

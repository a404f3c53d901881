//! What a checked manifest says of each container, resolved: defaults applied, names parsed, volumes looked up, scripts read.
//!
//! Apart from parsing because everything to the right works with these types alone. They say what is wanted; they do not
//! derive `Serialize`, the codec writes them down. Not here: positions in the text, problems, defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::Digest;

use crate::ids::{Ctid, FeatureName, HealthName, Hostname, IdMap, Target, VolumeName};

/// One container as the manifest wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its number.
    pub ctid: Ctid,
    /// Its host name, unique in the fleet.
    pub hostname: Hostname,
    /// What it is made from.
    pub origin: Origin,
    /// Whether it has a user namespace of its own.
    pub unprivileged: bool,
    /// The id map planned for it: the manifest's `idmap`, else the host's default; the identity map if privileged.
    pub idmap: IdMap,
    /// Memory, disk, processors.
    pub resources: Resources,
    /// Network interfaces in the order given; none means loopback alone.
    pub network: Vec<Nic>,
    /// Shared volumes in the order given.
    pub mounts: Vec<Mount>,
    /// Containers that must be `Done` first; the clone source is among them.
    pub depends_on: BTreeSet<Ctid>,
    /// Feature scripts in the order given; names are unique.
    pub features: Vec<Feature>,
    /// The application script.
    pub application: Option<Script>,
    /// Health checks in the order given; names are unique.
    pub health: Vec<HealthCheck>,
    /// When a started container counts as ready.
    pub ready: Ready,
    /// Whether and in which order the host starts it at boot.
    pub autostart: Autostart,
    /// What only some hosts know.
    pub host_options: HostOptions,
}

/// What a container is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A root file system archive.
    Template(Template),
    /// A copy of another container of the fleet.
    Clone {
        /// The container copied.
        source: Ctid,
    },
}

/// A root file system archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// A file of this host, absolute; tar, plain or compressed with gzip, xz or zstd.
    File(PathBuf),
    /// A template of a Proxmox storage, as `local:vztmpl/debian-12.tar.zst`.
    Stored(String),
}

/// Limits of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Memory in MiB.
    pub memory_mb: u32,
    /// Swap in MiB.
    pub swap_mb: u32,
    /// Processors' worth of time; `None` for no limit.
    pub cores: Option<u32>,
    /// Size of the root file system in GiB; plain LXC directories cannot enforce it.
    pub disk_gb: Option<u32>,
}

/// One network interface: a veth pair whose host end joins a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Name inside, such as `eth0`.
    pub name: String,
    /// Bridge on the host.
    pub bridge: String,
    /// Address inside.
    pub address: Address,
    /// IPv4 gateway, within the address's network.
    pub gateway: Option<IpAddr>,
    /// Hardware address as `aa:bb:cc:dd:ee:ff`, if the manifest fixes one.
    pub hwaddr: Option<String>,
    /// MTU, if the manifest fixes one.
    pub mtu: Option<u32>,
    /// VLAN tag, for hosts that know it.
    pub vlan: Option<u16>,
    /// Whether the host's firewall applies, for hosts that know it.
    pub firewall: bool,
}

/// How an interface gets its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Fixed, with prefix length.
    Static {
        /// The address.
        ip: IpAddr,
        /// Bits of the network part.
        prefix: u8,
    },
    /// By DHCP, driven from inside.
    Dhcp,
    /// Left to the inside.
    Manual,
}

/// A shared volume attached at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is attached.
    pub volume: Volume,
    /// Where, as seen inside.
    pub at: Target,
    /// Whether the container may only read.
    pub read_only: bool,
}

/// A directory of the host that containers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the manifest.
    pub name: VolumeName,
    /// The directory, absolute and normal.
    pub source: PathBuf,
    /// Its owner, as seen inside.
    pub owner: Owner,
    /// Its permission bits; `None` leaves an existing directory's and gives a new one 0755.
    pub mode: Option<u32>,
    /// How the owner is brought about.
    pub ownership: Ownership,
    /// Whether a non-empty directory of another owner may be taken over.
    pub take_ownership: bool,
    /// Whether everything below changes owner too.
    pub recursive: bool,
    /// A mount point of the host that is `nosuid` and holds the source (needed for [`Ownership::Map`] in some cases).
    pub nosuid_mount: Option<PathBuf>,
}

/// A user and a group, as seen inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// How a volume comes by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The directory is given to the mapped host ids.
    Chown,
    /// The directory keeps host ids; an id-mapped mount translates.
    Map,
}

/// A script run inside, with its text as it was when the manifest was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Where it was read from; for messages alone.
    pub path: PathBuf,
    /// BLAKE3 of its text.
    pub digest: Digest,
    /// Its text, at most [`SCRIPT_BYTES_MAX`] bytes; `None` once it was read back from a journal, which keeps it by digest.
    pub text: Option<Arc<[u8]>>,
    /// Its whole environment beside what every script gets.
    pub env: BTreeMap<String, EnvValue>,
    /// Its arguments.
    pub args: Vec<String>,
    /// How long one start of it may take.
    pub timeout: Duration,
    /// How often it may be started again after it failed.
    pub retries: u32,
    /// What happens if it was cut off without a result.
    pub on_interrupt: OnInterrupt,
}

/// The largest script, in bytes; it travels in memory and in the journal.
pub const SCRIPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// Written in the manifest.
    Plain(String),
    /// The first line-ending-trimmed content of a file of the host, read when the step starts.
    SecretFile(PathBuf),
    /// A variable of Phoenix's own environment, read when the step starts.
    SecretEnv(String),
}

/// What to do with a script that was started and has neither result nor living process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Start it again.
    Rerun,
    /// Quarantine the container until a person decides.
    Ask,
}

/// A named script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, unique in the container.
    pub name: FeatureName,
    /// The script.
    pub script: Script,
}

/// A command run inside whose exit status 0 means healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Its name, unique in the container.
    pub name: HealthName,
    /// Program and arguments.
    pub command: Vec<String>,
    /// How often it is asked again before it counts as failed.
    pub retries: u32,
    /// The wait between two askings.
    pub interval: Duration,
    /// How long one asking may take.
    pub timeout: Duration,
}

/// When a started container counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The question.
    pub probe: ReadyProbe,
    /// How long it may take until the answer is yes.
    pub timeout: Duration,
}

/// The question whether a container is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyProbe {
    /// Init was executed and, if it is systemd, is no longer starting.
    Init,
    /// A command inside exits with 0.
    Command(Vec<String>),
    /// A TCP port accepts connections inside.
    Port(u16),
    /// A file exists inside.
    File(Target),
}

/// Whether and how the host starts a container at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autostart {
    /// Whether at all.
    pub enabled: bool,
    /// Place in the order, lower first.
    pub order: Option<u32>,
    /// Seconds to wait after it before the next.
    pub up_delay_s: Option<u32>,
    /// Seconds it gets to shut down.
    pub down_timeout_s: Option<u32>,
}

/// What only some hosts know; plain LXC ignores it with a warning from `check`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// Proxmox storage of the root file system.
    pub storage: Option<String>,
    /// Proxmox `features`, as `nesting` -> `1`.
    pub lxc_features: BTreeMap<String, String>,
    /// Whether a missing stored template is fetched.
    pub fetch_template: bool,
    /// Whether a snapshot is taken before volumes are attached.
    pub snapshot_before_volumes: bool,
    /// Devices of the host that the container gets, in the order given; paths are unique.
    pub devices: Vec<Device>,
    /// A script that Proxmox runs on the host around start and stop, as `local:snippets/x.pl`.
    pub hookscript: Option<String>,
    /// The resource pool the container belongs to.
    pub pool: Option<String>,
    /// Tags, lower case as Proxmox keeps them.
    pub tags: BTreeSet<String>,
    /// Whether Proxmox refuses to destroy the container or to change its disks.
    pub protection: bool,
    /// Name servers in the order given; none means the host's.
    pub nameservers: Vec<IpAddr>,
    /// The domain in which short names are looked up; `None` means the host's.
    pub searchdomain: Option<String>,
    /// The time zone inside: a name such as `Europe/Vienna`, or `host` for the host's.
    pub timezone: Option<String>,
    /// The container's own firewall file; `None` leaves it alone.
    pub firewall: Option<Firewall>,
}

/// A device node of the host that the container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device, absolute and below `/dev`.
    pub path: PathBuf,
    /// Its owner, as seen inside.
    pub owner: Owner,
    /// Its permission bits inside.
    pub mode: u32,
    /// Whether the container may only read it.
    pub deny_write: bool,
}

/// What the firewall of a Proxmox node does with the traffic of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// Whether the rules apply.
    pub enable: bool,
    /// What becomes of traffic to the container that no rule names.
    pub policy_in: FirewallPolicy,
    /// What becomes of traffic from the container that no rule names.
    pub policy_out: FirewallPolicy,
    /// Rules in the order given, each one line as it stands in the file.
    pub rules: Vec<String>,
}

/// What becomes of traffic that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirewallPolicy {
    /// It passes.
    Accept,
    /// It is answered with a refusal.
    Reject,
    /// It is dropped without an answer.
    Drop,
}

impl FirewallPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Accept, Self::Reject, Self::Drop];

    /// The word of Proxmox for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
            Self::Drop => "DROP",
        }
    }
}

//! Every key of a manifest: its type, whether it must be there, its default, and what it means.
//!
//! Apart because it is the one list from which reader, schema and editors' completion come; `docs/manifest.md` says the same at length,
//! and a test holds the two together. Not here: rules between keys (`check`).

use super::entries::{DeviceEntry, EnvEntry, FeatureEntry, ScriptEntry};
use super::period::{Delay, Period, spoken};
use super::proxmox::{DeviceMode, DevicePath, Domains, Pool, Resolvers, Rule, Snippet, Tag, Zone};
use super::read::{Entries, List, Whole};
use super::spec::{FirewallPolicy, OnInterrupt, Ownership, Template};
use super::table::table;
use super::value::{AnyPath, Cidr, EnvName, FsType, Gateway, HostPath, Mac, MapLines, Mode, NetDevice, Text, Word};
use crate::ids::{Ctid, FeatureName, FleetName, HealthName, Hostname, Target, VolumeName};

/// Memory in MiB of a container that does not say.
pub(super) const MEMORY_MB: u32 = 512;
/// Retries of a health check that does not say; with [`HEALTH_INTERVAL_MS`] a service has some seconds to come up.
pub(super) const HEALTH_RETRIES: u32 = 3;
/// The wait between two askings of a health check.
pub(super) const HEALTH_INTERVAL_MS: u64 = 2_000;
/// How long one asking of a health check may take.
pub(super) const HEALTH_TIMEOUT_MS: u64 = 10_000;
/// How long a script may take; package installations on a slow disk take minutes.
pub(super) const SCRIPT_TIMEOUT_MS: u64 = 600_000;
/// How long a started container may take until it is ready.
pub(super) const READY_TIMEOUT_MS: u64 = 60_000;

/// Permission bits of a device that does not say; Proxmox's own.
pub(super) const DEVICE_MODE: u32 = 0o660;

/// The shortest and longest time a script, a probe or a check may be given.
pub(super) type Timeout = Period<1000, 604_800_000>;
/// A wait between two askings.
pub(super) type Interval = Period<100, 3_600_000>;
/// Memory in MiB: no distribution starts in less than 16, and no host has 16 TiB.
pub(super) type Mebibytes<const MIN: u32> = Whole<MIN, 16_777_216>;

table! {
    /// A fleet of containers for Phoenix.
    struct FleetTable {
        /// Where editors find the schema of this file; Phoenix passes it over.
        "$schema" optional schema: Text;
        /// The name of the fleet.
        "fleet" required fleet: FleetName;
        /// What holds for every container that does not say otherwise.
        "defaults" optional defaults: DefaultsTable;
        /// Directories of the host that containers share, by name.
        "volumes" optional volumes: Entries<VolumeName, VolumeTable>;
        /// The containers, by id: "100" to "999999999".
        "containers" required containers: Entries<Ctid, ContainerTable>;
    }
}

table! {
    /// What holds for every container that does not say otherwise.
    struct DefaultsTable {
        /// What containers are made from that neither name a template nor are clones.
        "template" optional template: Template;
        /// Memory in MiB.
        "memory_mb" optional memory_mb: Mebibytes<16> = MEMORY_MB;
        /// Swap in MiB.
        "swap_mb" optional swap_mb: Mebibytes<0> = 0;
        /// Processors' worth of time; without it there is no limit.
        "cores" optional cores: Whole<1, 8192>;
        /// Size of the root file system in GiB; plain LXC cannot enforce it.
        "disk_gb" optional disk_gb: Whole<1, 131_072>;
        /// Whether containers have a user namespace of their own.
        "unprivileged" optional unprivileged: bool = true;
        /// The id map of unprivileged containers, as lines of lxc.idmap.
        "idmap" optional idmap: MapLines;
        /// When a started container counts as ready.
        "ready" optional ready: ReadyTable;
        /// Whether the host starts containers at boot, once they are done.
        "autostart" optional autostart: bool = true;
        /// Proxmox storage of the root file system.
        "storage" optional storage: Word;
        /// Proxmox features.
        "lxc_features" optional lxc_features: LxcFeaturesTable;
        /// Whether a missing template of a Proxmox storage is fetched.
        "fetch_template" optional fetch_template: bool = false;
        /// Whether a Proxmox snapshot is taken before volumes are attached.
        "snapshot_before_volumes" optional snapshot_before_volumes: bool = false;
        /// Devices of the host that Proxmox passes on.
        "devices" optional devices: List<DeviceEntry>;
        /// A script among a Proxmox storage's snippets, run on the host around start and stop.
        "hookscript" optional hookscript: Snippet;
        /// The Proxmox resource pool.
        "pool" optional pool: Pool;
        /// Tags in Proxmox's lists, kept in lower case.
        "tags" optional tags: List<Tag>;
        /// Whether Proxmox refuses to destroy it.
        "protection" optional protection: bool = false;
        /// Name servers, written by Proxmox; without them the host's.
        "nameserver" optional nameserver: Resolvers;
        /// Domains in which short names are looked up, written by Proxmox; without them the host's.
        "searchdomain" optional searchdomain: Domains;
        /// The time zone, written by Proxmox: a name, or "host" for the host's.
        "timezone" optional timezone: Zone;
        /// The container's own rules for Proxmox's firewall.
        "firewall" optional firewall: FirewallTable;
    }
}

table! {
    /// A container.
    struct ContainerTable {
        /// Its host name, unique in the fleet.
        "hostname" required hostname: Hostname;
        /// The archive it is made from: a file, or STORAGE:vztmpl/NAME on Proxmox.
        "template" optional template: Template;
        /// The container of this fleet that it is a copy of.
        "clone_from" optional clone_from: Ctid;
        /// Containers that must be done before this one begins; the clone source is one without being named.
        "depends_on" optional depends_on: List<Ctid>;
        /// Memory in MiB.
        "memory_mb" optional memory_mb: Mebibytes<16> = MEMORY_MB;
        /// Swap in MiB.
        "swap_mb" optional swap_mb: Mebibytes<0> = 0;
        /// Processors' worth of time; without it there is no limit.
        "cores" optional cores: Whole<1, 8192>;
        /// Size of the root file system in GiB; plain LXC cannot enforce it.
        "disk_gb" optional disk_gb: Whole<1, 131_072>;
        /// Whether it has a user namespace of its own; a clone is as its source.
        "unprivileged" optional unprivileged: bool = true;
        /// Its id map, as lines of lxc.idmap; a clone has its source's.
        "idmap" optional idmap: MapLines;
        /// Network interfaces; none means loopback alone.
        "network" optional network: List<NicTable>;
        /// Shared volumes and where they are mounted.
        "volumes" optional volumes: List<MountTable>;
        /// Scripts that set the container up, run inside in this order.
        "features" optional features: List<FeatureEntry>;
        /// The script that installs or starts what the container is for, run after all features.
        "application" optional application: ScriptEntry;
        /// Commands run inside that show that all is well.
        "health" optional health: List<HealthTable>;
        /// When it counts as ready after a start.
        "ready" optional ready: ReadyTable;
        /// Whether the host starts it at boot, once it is done.
        "autostart" optional autostart: bool = true;
        /// Its place among the containers that the host starts at boot.
        "startup" optional startup: StartupTable;
        /// Proxmox storage of the root file system.
        "storage" optional storage: Word;
        /// Proxmox features.
        "lxc_features" optional lxc_features: LxcFeaturesTable;
        /// Whether a missing template of a Proxmox storage is fetched.
        "fetch_template" optional fetch_template: bool = false;
        /// Whether a Proxmox snapshot is taken before volumes are attached.
        "snapshot_before_volumes" optional snapshot_before_volumes: bool = false;
        /// Devices of the host that Proxmox passes on.
        "devices" optional devices: List<DeviceEntry>;
        /// A script among a Proxmox storage's snippets, run on the host around start and stop.
        "hookscript" optional hookscript: Snippet;
        /// The Proxmox resource pool.
        "pool" optional pool: Pool;
        /// Tags in Proxmox's lists, kept in lower case.
        "tags" optional tags: List<Tag>;
        /// Whether Proxmox refuses to destroy it.
        "protection" optional protection: bool = false;
        /// Name servers, written by Proxmox; without them the host's.
        "nameserver" optional nameserver: Resolvers;
        /// Domains in which short names are looked up, written by Proxmox; without them the host's.
        "searchdomain" optional searchdomain: Domains;
        /// The time zone, written by Proxmox: a name, or "host" for the host's.
        "timezone" optional timezone: Zone;
        /// The container's own rules for Proxmox's firewall.
        "firewall" optional firewall: FirewallTable;
    }
}

table! {
    /// A network interface: a pair of virtual cables whose host end joins a bridge.
    struct NicTable {
        /// Name inside.
        "name" required name: NetDevice;
        /// Bridge on the host.
        "bridge" required bridge: NetDevice;
        /// Address with prefix, "dhcp", or "manual" to leave it to the inside.
        "ip" optional ip: Cidr = "dhcp";
        /// Gateway, in the address's network.
        "gw" optional gw: Gateway;
        /// Hardware address; without it the host chooses one.
        "hwaddr" optional hwaddr: Mac;
        /// Largest packet in bytes; without it the bridge's.
        "mtu" optional mtu: Whole<576, 65_520>;
        /// VLAN tag, for hosts that know it.
        "vlan" optional vlan: Whole<1, 4094>;
        /// Whether Proxmox's firewall applies.
        "firewall" optional firewall: bool = false;
    }
}

table! {
    /// A shared volume in a container.
    struct MountTable {
        /// Name of the volume.
        "volume" required volume: VolumeName;
        /// Where it is mounted inside.
        "at" required at: Target;
        /// Whether the container may only read.
        "read_only" optional read_only: bool = false;
    }
}

table! {
    /// A directory of the host that containers share.
    struct VolumeTable {
        /// The directory, absolute.
        "source" required source: HostPath;
        /// Its owner as seen inside; without it root.
        "owner" optional owner: OwnerTable;
        /// Its permission bits in octal; without it an existing directory keeps its own and a new one has 0755.
        "mode" optional mode: Mode;
        /// How it comes by its owner: the directory is given to the mapped ids ("chown"), or an id-mapped mount translates ("map").
        "ownership" optional ownership: Ownership = "chown";
        /// Whether a directory that has files and another owner may be taken over.
        "take_ownership" optional take_ownership: bool = false;
        /// Whether everything below changes owner too.
        "recursive" optional recursive: bool = false;
        /// A mount point of the host with the option nosuid that holds the source; some hosts need it for "map".
        "nosuid_mount" optional nosuid_mount: HostPath;
    }
}

table! {
    /// A user and a group as seen inside.
    struct OwnerTable {
        /// User id.
        "uid" required uid: Whole<0, 4_294_967_294>;
        /// Group id.
        "gid" required gid: Whole<0, 4_294_967_294>;
    }
}

table! {
    /// A script run inside.
    struct ScriptTable {
        /// The file, absolute or relative to the manifest; its first line names its interpreter.
        "script" required script: AnyPath;
        /// Its environment.
        "env" optional env: Entries<EnvName, EnvEntry>;
        /// Its arguments.
        "args" optional args: List<Text>;
        /// How long one start of it may take.
        "timeout" optional timeout: Timeout = spoken(SCRIPT_TIMEOUT_MS);
        /// How often it is started again after it failed.
        "retries" optional retries: Whole<0, 100> = 0;
        /// What happens if it was cut off without a result: it runs again ("rerun"), or a person decides ("ask").
        "on_interrupt" optional on_interrupt: OnInterrupt = "rerun";
    }
}

table! {
    /// A script that sets a container up.
    struct FeatureTable {
        /// Its name, unique in the container; without it the file name without its extension.
        "name" optional name: FeatureName;
        /// The file, absolute or relative to the manifest; its first line names its interpreter.
        "script" required script: AnyPath;
        /// Its environment.
        "env" optional env: Entries<EnvName, EnvEntry>;
        /// Its arguments.
        "args" optional args: List<Text>;
        /// How long one start of it may take.
        "timeout" optional timeout: Timeout = spoken(SCRIPT_TIMEOUT_MS);
        /// How often it is started again after it failed.
        "retries" optional retries: Whole<0, 100> = 0;
        /// What happens if it was cut off without a result: it runs again ("rerun"), or a person decides ("ask").
        "on_interrupt" optional on_interrupt: OnInterrupt = "rerun";
    }
}

table! {
    /// A secret: never in the journal, read when the script starts.
    struct SecretTable {
        /// A file of the host, absolute, whose content is the value.
        "secret_file" optional secret_file: AnyPath;
        /// A variable of Phoenix's own environment.
        "secret_env" optional secret_env: EnvName;
    }
}

table! {
    /// A command run inside whose exit status 0 means that all is well.
    struct HealthTable {
        /// Its name, unique in the container.
        "name" required name: HealthName;
        /// Program and arguments.
        "command" required command: List<Text>;
        /// How often it is asked again before it counts as failed.
        "retries" optional retries: Whole<0, 1000> = HEALTH_RETRIES;
        /// The wait between two askings.
        "interval" optional interval: Interval = spoken(HEALTH_INTERVAL_MS);
        /// How long one asking may take.
        "timeout" optional timeout: Timeout = spoken(HEALTH_TIMEOUT_MS);
    }
}

table! {
    /// When a started container is ready: one of command, port and file; without them when init runs and, if it is systemd, is no longer starting.
    struct ReadyTable {
        /// A command inside that exits with 0.
        "command" optional command: List<Text>;
        /// A TCP port inside that accepts connections.
        "port" optional port: Whole<1, 65_535>;
        /// A file inside that exists.
        "file" optional file: Target;
        /// How long it may take.
        "timeout" optional timeout: Timeout = spoken(READY_TIMEOUT_MS);
    }
}

table! {
    /// The place of a container among those that the host starts at boot.
    struct StartupTable {
        /// Lower starts first and stops last.
        "order" optional order: Whole<0, 1_000_000>;
        /// The wait after its start before the next one's.
        "up_delay" optional up_delay: Delay;
        /// How long it gets to shut down.
        "down_timeout" optional down_timeout: Delay;
    }
}

table! {
    /// Features of Proxmox containers.
    struct LxcFeaturesTable {
        /// Containers inside the container.
        "nesting" optional nesting: bool;
        /// The keyctl system call; unprivileged containers only.
        "keyctl" optional keyctl: bool;
        /// FUSE file systems.
        "fuse" optional fuse: bool;
        /// Device nodes by mknod.
        "mknod" optional mknod: bool;
        /// Kinds of file systems that may be mounted inside.
        "mount" optional mount: List<FsType>;
        /// A writable /sys.
        "force_rw_sys" optional force_rw_sys: bool;
    }
}

table! {
    /// A device of the host in a container.
    struct DeviceTable {
        /// The device node, below /dev.
        "path" required path: DevicePath;
        /// Its user inside.
        "uid" optional uid: Whole<0, 4_294_967_294> = 0;
        /// Its group inside.
        "gid" optional gid: Whole<0, 4_294_967_294> = 0;
        /// Its permission bits inside, in octal.
        "mode" optional mode: DeviceMode = format!("{DEVICE_MODE:04o}");
        /// Whether the container may not write to it.
        "deny_write" optional deny_write: bool = false;
    }
}

table! {
    /// What Proxmox's firewall does with a container's traffic, at the interfaces that have `firewall`.
    struct FirewallTable {
        /// Whether policies and rules apply.
        "enable" optional enable: bool = true;
        /// What becomes of traffic to it that no rule names.
        "policy_in" optional policy_in: FirewallPolicy = FirewallPolicy::Drop.name();
        /// What becomes of traffic from it that no rule names.
        "policy_out" optional policy_out: FirewallPolicy = FirewallPolicy::Accept.name();
        /// Rules, the first that fits decides: direction, action and options, as in Proxmox's own files.
        "rules" optional rules: List<Rule>;
    }
}

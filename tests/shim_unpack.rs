//! Unpacking archives: what is kept, what is left out, and what hostile archives cannot do. Needs root.

mod shim_fixture;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use phoenix::ids::IdMap;
use phoenix::shim::{Ending, JobResult, Task, Unpacked, digest_of, ran_out_of_memory};
use shim_fixture::{Place, is_root, open, output};
use tar::{Builder, EntryType, Header};

const HOST: u32 = 100_000;

struct Entry<'a> {
    kind: EntryType,
    name: &'a str,
    link: &'a str,
    content: &'a str,
    mode: u32,
    uid: u64,
}

fn entry(kind: EntryType, name: &str) -> Entry<'_> {
    Entry { kind, name, link: "", content: "", mode: 0o755, uid: 0 }
}

fn file<'a>(name: &'a str, content: &'a str) -> Entry<'a> {
    Entry { content, mode: 0o644, ..entry(EntryType::Regular, name) }
}

fn link<'a>(kind: EntryType, name: &'a str, link: &'a str) -> Entry<'a> {
    Entry { link, ..entry(kind, name) }
}

/// Names are written as they are: the crate's own setters refuse hostile ones.
fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.uid);
        header.set_gid(entry.uid);
        header.set_mtime(1_600_000_000);
        header.set_size(entry.content.len() as u64);
        let gnu = header.as_gnu_mut().expect("made as GNU");
        gnu.name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        gnu.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_cksum();
        builder.append(&header, entry.content.as_bytes()).expect("appended");
    }
    builder.into_inner().expect("an archive")
}

struct Done {
    place: Place,
    rootfs: PathBuf,
    result: JobResult,
}

impl Done {
    fn unpacked(&self) -> Unpacked {
        assert_eq!(self.result.ending, Ending::Exited(0), "{}", output(&self.result));
        self.result.unpacked.expect("a report")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.rootfs.join(name)
    }
}

fn unpack(ctid: u32, map: IdMap, archive: &[u8]) -> Done {
    let place = Place::new(ctid);
    unpack_in(place, map, archive)
}

fn unpack_in(place: Place, map: IdMap, archive: &[u8]) -> Done {
    let (path, rootfs) = (place.path("archive"), place.path("closed/rootfs"));
    fs::write(&path, archive).expect("written");
    fs::create_dir_all(&rootfs).expect("made");
    // Nobody but root gets here: the unpacking must not need more.
    fs::set_permissions(place.path("closed"), fs::Permissions::from_mode(0o700)).expect("closed");
    let task = Task::Unpack { archive: open(&path), rootfs: rootfs.clone(), idmap: map };
    let result = place.run(place.job(1, Duration::from_secs(60), task));
    Done { place, rootfs, result }
}

fn mapped() -> IdMap {
    IdMap::shifted(HOST, 65_536).expect("a map")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn owners_modes_times_and_links_are_kept() {
    if !is_root("owners_modes_times_and_links_are_kept") {
        return;
    }
    let done = unpack(
        900_130,
        mapped(),
        &archive(&[
            Entry { mode: 0o750, uid: 5, ..entry(EntryType::Directory, "./") },
            Entry { mode: 0o1777, ..entry(EntryType::Directory, "tmp/") },
            Entry { mode: 0o555, ..entry(EntryType::Directory, "usr/") },
            Entry { mode: 0o4755, uid: 33, ..file("usr/bin/su", "x") },
            Entry { mode: 0o2711, ..file("usr/sgid", "x") },
            link(EntryType::Link, "usr/bin/su2", "usr/bin/su"),
            link(EntryType::Symlink, "bin", "usr/bin"),
            file("bin/through", "y"),
            file("tmp/twice", "1"),
            file("tmp/twice", "22"),
        ]),
    );
    let Unpacked { entries, bytes, left_out, confined, .. } = done.unpacked();
    assert_eq!((entries, bytes, left_out, confined), (10, 6, 0, 0));
    let root = fs::metadata(&done.rootfs).expect("there");
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (HOST + 5, HOST + 5, 0o750));
    let su = fs::metadata(done.at("usr/bin/su")).expect("there");
    assert_eq!((su.uid(), su.gid(), su.mode() & 0o7777, su.mtime(), su.nlink()), (HOST + 33, HOST + 33, 0o4755, 1_600_000_000, 2));
    assert_eq!(fs::metadata(done.at("usr/bin/su2")).expect("there").ino(), su.ino());
    assert_eq!(fs::metadata(done.at("usr/sgid")).expect("there").mode() & 0o7777, 0o2711);
    let usr = fs::metadata(done.at("usr")).expect("there");
    assert_eq!((usr.mode() & 0o7777, usr.mtime()), (0o555, 1_600_000_000));
    assert_eq!(fs::metadata(done.at("tmp")).expect("there").mode() & 0o7777, 0o1777);
    let bin = fs::symlink_metadata(done.at("bin")).expect("there");
    assert_eq!((bin.uid(), bin.mtime()), (HOST, 1_600_000_000));
    assert_eq!(text(&done.at("usr/bin/through")), "y");
    assert_eq!(text(&done.at("tmp/twice")), "22");
}

#[test]
fn all_compressions_are_told_by_their_content() {
    if !is_root("all_compressions_are_told_by_their_content") {
        return;
    }
    let plain = archive(&[file("a", "content")]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&plain).expect("compressed");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).expect("compressed");
    let packed = [
        plain.clone(),
        gz.finish().expect("compressed"),
        xz.finish().expect("compressed"),
        zstd::encode_all(&plain[..], 1).expect("compressed"),
    ];
    for (index, bytes) in (0..).zip(packed) {
        let done = unpack(900_131 + index, mapped(), &bytes);
        assert_eq!(done.unpacked().entries, 1);
        assert_eq!(text(&done.at("a")), "content");
        let archive = open(&done.place.path("archive"));
        assert_eq!(digest_of(&archive).expect("read"), blake3::hash(&bytes));
    }
}

#[test]
fn device_nodes_and_fifos_are_left_out_and_counted() {
    if !is_root("device_nodes_and_fifos_are_left_out_and_counted") {
        return;
    }
    for (ctid, map) in [(900_136, mapped()), (900_137, IdMap::identity())] {
        let nodes =
            [entry(EntryType::Char, "dev/null"), entry(EntryType::Block, "dev/sda"), entry(EntryType::Fifo, "fifo"), file("a", "a")];
        let done = unpack(ctid, map, &archive(&nodes));
        assert_eq!((done.unpacked().left_out, done.unpacked().entries), (3, 1));
        assert!(!done.at("dev/null").exists() && !done.at("fifo").exists());
        let names: Vec<_> = fs::read_dir(&done.rootfs).expect("there").flatten().collect();
        assert!(names.iter().all(|name| !name.file_type().expect("known").is_char_device()));
    }
}

#[test]
fn names_that_lead_out_are_confined_and_counted() {
    if !is_root("names_that_lead_out_are_confined_and_counted") {
        return;
    }
    for (ctid, map) in [(900_138, mapped()), (900_139, IdMap::identity())] {
        let place = Place::new(ctid);
        let (absolute, up) = (place.path("absolute"), "../../up");
        let absolute = absolute.to_str().expect("plain");
        let inside = absolute.trim_start_matches('/').to_owned();
        let done = unpack_in(place, map, &archive(&[file(absolute, "1"), file(up, "2"), file("a/../b", "3")]));
        assert_eq!(done.unpacked().confined, 3);
        assert!(!done.place.path("absolute").exists() && !done.place.path("up").exists());
        assert_eq!((text(&done.at(&inside)), text(&done.at("up")), text(&done.at("a/b"))), ("1".into(), "2".into(), "3".into()));
    }
}

/// Another container of the same map, and a shared volume: directories that the map's root may write to.
#[test]
fn a_file_through_a_link_lands_inside_whoever_may_write_outside() {
    if !is_root("a_file_through_a_link_lands_inside_whoever_may_write_outside") {
        return;
    }
    for (ctid, map) in [(900_140, mapped()), (900_141, IdMap::identity())] {
        for depth in ["", "../../../../../../../.."] {
            let place = Place::new(ctid);
            let other = place.path("other");
            fs::create_dir(&other).expect("made");
            fs::set_permissions(&other, fs::Permissions::from_mode(0o777)).expect("opened");
            std::os::unix::fs::chown(&other, Some(HOST), Some(HOST)).expect("given");
            fs::write(other.join("kept"), "theirs").expect("written");
            let aim = format!("{depth}{}", other.display());
            let entries = [link(EntryType::Symlink, "out", &aim), file("out/evil", "evil"), file("out/kept", "evil")];
            let done = unpack_in(place, map.clone(), &archive(&entries));
            assert!(!other.join("evil").exists());
            assert_eq!(text(&other.join("kept")), "theirs");
            // Inside, the link leads nowhere: that is an archive's own mistake.
            assert_eq!(done.result.ending, Ending::Exited(1), "{}", output(&done.result));
            let inside = other.strip_prefix("/").expect("absolute").to_str().expect("plain").to_owned();
            let place = Place::new(ctid);
            let entries = [entry(EntryType::Directory, &inside), link(EntryType::Symlink, "out", &aim), file("out/evil", "evil")];
            let done = unpack_in(place, map.clone(), &archive(&entries));
            done.unpacked();
            assert!(!other.join("evil").exists());
            assert_eq!(text(&done.at(&inside).join("evil")), "evil");
        }
    }
}

#[test]
fn a_hard_link_to_a_file_of_the_host_cannot_be_made() {
    if !is_root("a_hard_link_to_a_file_of_the_host_cannot_be_made") {
        return;
    }
    for (ctid, map) in [(900_142, mapped()), (900_143, IdMap::identity())] {
        for target in ["/etc/passwd", "../../../../../../etc/passwd"] {
            let entries = [link(EntryType::Link, "x", target), file("x", "evil")];
            let links = fs::metadata("/etc/passwd").expect("there").nlink();
            let done = unpack(ctid, map.clone(), &archive(&entries));
            assert_eq!(done.result.ending, Ending::Exited(1));
            assert!(output(&done.result).contains("etc/passwd"), "{}", output(&done.result));
            assert_eq!(fs::metadata("/etc/passwd").expect("there").nlink(), links);
            assert!(!text(Path::new("/etc/passwd")).contains("evil"));
        }
    }
}

#[test]
fn a_privileged_container_gets_the_hosts_ids() {
    if !is_root("a_privileged_container_gets_the_hosts_ids") {
        return;
    }
    let done = unpack(900_144, IdMap::identity(), &archive(&[Entry { uid: 33, mode: 0o4755, ..file("su", "x") }]));
    done.unpacked();
    let su = fs::metadata(done.at("su")).expect("there");
    assert_eq!((su.uid(), su.mode() & 0o7777), (33, 0o4755));
}

#[test]
fn an_owner_outside_of_the_map_is_an_error() {
    if !is_root("an_owner_outside_of_the_map_is_an_error") {
        return;
    }
    let done = unpack(900_145, mapped(), &archive(&[Entry { uid: 70_000, ..file("a", "x") }]));
    assert_eq!(done.result.ending, Ending::Exited(1));
    assert!(output(&done.result).contains("`a` belongs to user 70000"), "{}", output(&done.result));
}

#[test]
fn a_map_of_several_ranges_is_used_as_a_whole() {
    if !is_root("a_map_of_several_ranges_is_used_as_a_whole") {
        return;
    }
    let lines = ["u 0 100000 1000", "u 1000 1000 1", "u 1001 101001 64535", "g 0 100000 65536"];
    let map = IdMap::from_lxc(lines).expect("a map");
    let done = unpack(900_146, map, &archive(&[Entry { uid: 1000, ..file("a", "x") }]));
    done.unpacked();
    let a = fs::metadata(done.at("a")).expect("there");
    assert_eq!((a.uid(), a.gid()), (1000, HOST + 1000));
}

#[test]
fn nothing_is_unpacked_over_anything() {
    if !is_root("nothing_is_unpacked_over_anything") {
        return;
    }
    let place = Place::new(900_147);
    fs::create_dir_all(place.path("closed/rootfs/there")).expect("made");
    let done = unpack_in(place, mapped(), &archive(&[file("a", "x")]));
    assert_eq!(done.result.ending, Ending::Exited(1));
    assert!(output(&done.result).contains("is not empty"), "{}", output(&done.result));
}

#[test]
fn a_cut_archive_is_damaged() {
    if !is_root("a_cut_archive_is_damaged") {
        return;
    }
    let large = "x".repeat(100_000);
    let packed = zstd::encode_all(&archive(&[file("a", &large)])[..], 1).expect("compressed");
    let done = unpack(900_148, mapped(), &packed[..packed.len() / 2]);
    assert_eq!(done.result.ending, Ending::Exited(1));
    assert!(output(&done.result).contains("damaged"), "{}", output(&done.result));
}

#[test]
fn a_bomb_ends_at_the_deadline() {
    if !is_root("a_bomb_ends_at_the_deadline") {
        return;
    }
    let place = Place::new(900_149);
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    let mut header = Header::new_gnu();
    header.set_size(1 << 33);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_path("zeros").expect("a name");
    header.set_cksum();
    bomb.write_all(header.as_bytes()).expect("compressed");
    let zeros = vec![0; 1 << 20];
    (0..1 << 13).for_each(|_| bomb.write_all(&zeros).expect("compressed"));
    fs::write(place.path("archive"), bomb.finish().expect("compressed")).expect("written");
    fs::create_dir_all(place.path("rootfs")).expect("made");
    let task = Task::Unpack { archive: open(&place.path("archive")), rootfs: place.path("rootfs"), idmap: mapped() };
    let result = place.run(place.job(1, Duration::from_millis(400), task));
    assert_eq!((result.ending, result.undead), (Ending::TimedOut, Vec::new()));
}

#[track_caller]
fn check_takes_too_much_memory(ctid: u32, archive: &[u8]) {
    let done = unpack(ctid, mapped(), archive);
    assert!(ran_out_of_memory(&done.result.ending), "{:?}: {}", done.result.ending, output(&done.result));
}

#[test]
fn a_name_without_end_is_refused_for_its_memory() {
    if !is_root("a_name_without_end_is_refused_for_its_memory") {
        return;
    }
    let length: u64 = 3 << 29;
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(length);
    header.set_path("././@LongLink").expect("a name");
    header.set_cksum();
    bomb.write_all(header.as_bytes()).expect("compressed");
    let letters = vec![b'x'; 1 << 20];
    (0..length >> 20).for_each(|_| bomb.write_all(&letters).expect("compressed"));
    bomb.write_all(&archive(&[file("a", "x")])).expect("compressed");
    check_takes_too_much_memory(900_152, &bomb.finish().expect("compressed"));
}

#[test]
fn a_dictionary_without_end_is_refused_for_its_memory() {
    if !is_root("a_dictionary_without_end_is_refused_for_its_memory") {
        return;
    }
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&archive(&[file("a", "x")])).expect("compressed");
    let mut bytes = xz.finish().expect("compressed");
    // The first block's header: its length in words, flags, LZMA2, the size of its properties, the dictionary's size; a checksum.
    let block = &mut bytes[12..];
    assert_eq!(block[1..4], [0, 0x21, 1]);
    block[4] = 39;
    let end = usize::from(block[0]) * 4;
    let mut sum = flate2::Crc::new();
    sum.update(&block[..end]);
    block[end..end + 4].copy_from_slice(&sum.sum().to_le_bytes());
    check_takes_too_much_memory(900_153, &bytes);
}

/// Archives as GNU tar writes them, with long names and extended attributes.
#[test]
fn what_gnu_tar_packs_comes_out_the_same() {
    if !is_root("what_gnu_tar_packs_comes_out_the_same") {
        return;
    }
    for (ctid, format) in [(900_150, "gnu"), (900_151, "pax")] {
        let place = Place::new(ctid);
        let tree = place.path("tree");
        let long = "l".repeat(120);
        fs::create_dir_all(tree.join(&long).join(&long)).expect("made");
        fs::write(tree.join(&long).join(&long).join("ä"), "deep").expect("written");
        std::os::unix::fs::symlink("t".repeat(150), tree.join("link")).expect("linked");
        let marked = rustix::fs::setxattr(tree.join(&long), "user.note", b"hi", rustix::fs::XattrFlags::empty()).is_ok();
        let packed = place.path("packed.tar.gz");
        tar_up(format, &packed, &tree);
        let done = unpack_in(place, mapped(), &fs::read(packed).expect("packed"));
        assert_eq!(done.unpacked().left_out, 0);
        assert_eq!(text(&done.at(&long).join(&long).join("ä")), "deep");
        assert_eq!(fs::read_link(done.at("link")).expect("a link").as_os_str().len(), 150);
        if marked && format == "pax" {
            let mut value = [0; 8];
            assert_eq!(rustix::fs::getxattr(done.at(&long), "user.note", &mut value), Ok(2));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "GNU tar is what the test is about")]
fn tar_up(format: &str, packed: &Path, tree: &Path) {
    let mut tar = std::process::Command::new("tar");
    tar.arg(format!("--format={format}")).args(if format == "pax" { &["--xattrs"][..] } else { &[] });
    let status = tar.arg("-czf").arg(packed).arg("-C").arg(tree).arg(".").status().expect("tar");
    assert!(status.success());
}

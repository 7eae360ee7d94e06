//! What reaches the disk for each sync, counted at the block layer of a file system that nothing else uses?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tessera_journal::slot::SLOT_BYTES;

use crate::Plan;
use crate::bed::Bed;
use crate::table::{Goal, Table};

const PAGE_BYTES: u64 = 4096;
const GROUPS: u64 = 500;
const IMAGE_BYTES: u64 = 400 << 20;

pub(crate) fn run(plan: &Plan, table: &mut Table) {
    let disk = match Disk::mount(&plan.dir) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("skipped the bytes of a sync: {why}");
            return;
        }
    };
    for records in [1_u64, 16, 256] {
        let mut bed = Bed::new(&disk.at);
        bed.settle();
        // What the file system itself still has to write is written before the counting begins.
        disk.flush();
        let before = disk.sectors_written();
        let mut pages = 0;
        let mut from = bed.opened.status.bytes_written();
        for _ in 0..GROUPS {
            (0..records).for_each(|_| bed.append());
            bed.opened.writer.publish();
            bed.opened.syncer.sync_once().expect("a disk that works");
            let to = bed.opened.status.bytes_written();
            // Records begin at a page border, so pages can be counted without the header; one more holds the
            // watermark of the sync before.
            pages += (to - 1) / PAGE_BYTES - from / PAGE_BYTES + 2;
            from = to;
        }
        let ours = (disk.sectors_written() - before) * 512 / GROUPS;
        let aligned = (records * SLOT_BYTES as u64).div_ceil(PAGE_BYTES) + 1;
        for (what, bare, goal) in [
            (
                "the pages it touches",
                pages * PAGE_BYTES / GROUPS,
                Goal::RatioAtMost(1.1),
            ),
            (
                "as few pages as could hold it",
                aligned * PAGE_BYTES,
                Goal::None,
            ),
        ] {
            let what = format!("bytes written per sync of {records}, beside {what}");
            #[expect(clippy::cast_precision_loss, reason = "a few pages")]
            table.beside(&what, "B", ours as f64, bare as f64, goal);
        }
        bed.close();
    }
}

/// An ext4 of its own behind a loop device.
struct Disk {
    at: PathBuf,
    stat: PathBuf,
    image: tempfile::TempDir,
}

impl Disk {
    fn mount(parent: &Path) -> Result<Self, String> {
        let image = tempfile::tempdir_in(parent).map_err(|error| error.to_string())?;
        let file = image.path().join("image");
        fs::File::create(&file)
            .and_then(|file| file.set_len(IMAGE_BYTES))
            .map_err(|error| error.to_string())?;
        let at = image.path().join("disk");
        fs::create_dir(&at).map_err(|error| error.to_string())?;
        run_program("mkfs.ext4", &[Path::new("-q"), &file])?;
        run_program(
            "mount",
            &[Path::new("-o"), Path::new("loop,lazytime"), &file, &at],
        )?;
        let mounts = fs::read_to_string("/proc/mounts").map_err(|error| error.to_string())?;
        let device = mounts
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(_, rest)| {
                rest.split(' ')
                    .next()
                    .is_some_and(|dir| Path::new(dir) == at)
            })
            .and_then(|(device, _)| device.strip_prefix("/dev/"))
            .ok_or("the mounted file system is not in /proc/mounts")?;
        let stat = PathBuf::from(format!("/sys/block/{device}/stat"));
        let disk = Self { at, stat, image };
        if !disk.stat.exists() {
            return Err(format!("{} does not exist", disk.stat.display()));
        }
        Ok(disk)
    }

    fn flush(&self) {
        if let Err(why) = run_program("sync", &[Path::new("-f"), &self.at]) {
            eprintln!("{why}");
        }
    }

    /// The seventh number of the kernel's block statistics; its unit is 512 bytes.
    fn sectors_written(&self) -> u64 {
        let text = fs::read_to_string(&self.stat).expect("it was there");
        let number = text.split_whitespace().nth(6);
        number
            .and_then(|number| number.parse().ok())
            .expect("seven numbers or more")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(why) = run_program("umount", &[&self.at]) {
            eprintln!("{why}; {} stays", self.image.path().display());
        }
    }
}

fn run_program(name: &str, args: &[&Path]) -> Result<(), String> {
    match Command::new(name).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

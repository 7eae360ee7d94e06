//! How large the books of a flow are.

use crate::baseline::Baseline;
use crate::flows::Workload;

/// What the books look like on average while the commands run, over all of them.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Orders that rest.
    pub resting: f64,
    /// Prices at which they do.
    pub levels: f64,
}

impl Shape {
    /// Runs the plain book over the workload and looks at it a thousand times.
    #[must_use]
    pub fn of(workload: &Workload) -> Self {
        let mut book = Baseline::plain(workload.books);
        for command in &workload.fill {
            book.on_command(&command.command);
        }
        let (mut resting, mut levels, mut samples) = (0, 0, 0);
        let every = (workload.commands.len() / 1_000).max(1);
        for (place, command) in workload.commands.iter().enumerate() {
            book.on_command(&command.command);
            if place % every == 0 {
                resting += book.resting();
                levels += book.levels();
                samples += 1;
            }
        }
        let mean = |sum: usize| sum as f64 / f64::from(samples.max(1));
        Self {
            resting: mean(resting),
            levels: mean(levels),
        }
    }
}

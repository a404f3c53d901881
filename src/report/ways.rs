//! The ways out of quarantine, as data: for each reason what it means and what can be done.
//!
//! The one table; the command line, `status --json` and the documents quote it. Not here: what was seen in a given case, which
//! stands with the quarantine itself.

use crate::ids::Ctid;
use crate::machine::QuarantineReason;

/// One thing that a person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The command, with `CTID` for the container; `None` where it is something to be done by hand.
    pub command: Option<&'static str>,
    /// When this is the right thing, or what it does.
    pub purpose: &'static str,
}

impl Way {
    const fn command(command: &'static str, purpose: &'static str) -> Self {
        Self { command: Some(command), purpose }
    }

    const fn by_hand(purpose: &'static str) -> Self {
        Self { command: None, purpose }
    }

    /// The command for one container.
    pub fn command_for(&self, ctid: Ctid) -> Option<String> {
        self.command.map(|command| command.replace("CTID", &ctid.to_string()))
    }
}

/// What a reason means, in one sentence.
pub fn meaning(reason: QuarantineReason) -> &'static str {
    match reason {
        QuarantineReason::Foreign => "something that is not ours lies on this id",
        QuarantineReason::Gone => "the container was removed by others",
        QuarantineReason::MarkMissing => "the container does not bear our identity mark, so it cannot be told from a stranger's",
        QuarantineReason::Undead => "processes of a step could not be ended",
        QuarantineReason::Interrupted => "a script was cut off without a result, and the manifest says to ask",
        QuarantineReason::JournalOlder => "the host shows work that this journal does not know: the journal is an older copy",
        QuarantineReason::Drift => "what the journal says and what the host shows differ, in a way that does not pass by itself",
        QuarantineReason::Budget => "recovery was tried as often as it may be",
        QuarantineReason::Undecodable => "the journal holds something about this container that this version cannot read",
    }
}

/// What can be done about a reason, the likeliest first.
pub fn ways(reason: QuarantineReason) -> &'static [Way] {
    match reason {
        QuarantineReason::Foreign => {
            const {
                &[
                    Way::by_hand("look whose it is; phoenix never touches it"),
                    Way::by_hand(
                        "if it is this fleet's, from before its journal was lost: move the journal of now away, then `phoenix journal rebuild FLEET`",
                    ),
                    Way::command("phoenix retry CTID --recreate", "once the stranger is gone: forget the old container and make a new one"),
                    Way::command("phoenix down CTID", "give the id up: forgets the container and touches nothing on the host"),
                ]
            }
        }
        QuarantineReason::Gone => {
            const {
                &[
                    Way::command("phoenix retry CTID --recreate", "make it anew"),
                    Way::command("phoenix retry CTID", "it is back (its file system was not mounted, say): look again"),
                    Way::command("phoenix down CTID", "it is not wanted any more: forget it"),
                ]
            }
        }
        QuarantineReason::MarkMissing => {
            const {
                &[
                    Way::command("phoenix retry CTID --remark", "after you have looked that it is this container: mark it again"),
                    Way::command(
                        "phoenix retry CTID --recreate",
                        "it is not this container: forget ours and make a new one once the id is free",
                    ),
                ]
            }
        }
        QuarantineReason::Undead => {
            const { &[Way::by_hand("end the processes named above, or restart the host"), Way::command("phoenix retry CTID", "then: go on")] }
        }
        QuarantineReason::Interrupted => {
            const {
                &[
                    Way::command("phoenix retry CTID --rerun", "start the script again"),
                    Way::command("phoenix retry CTID --skip", "the script did its work: take it as done, on your word"),
                ]
            }
        }
        QuarantineReason::JournalOlder => {
            const {
                &[
                    Way::by_hand("put the newest copy of the journal back; going on with this one would repeat what was done already"),
                    Way::by_hand("if there is none: move this one away, then `phoenix journal rebuild FLEET`"),
                ]
            }
        }
        QuarantineReason::Drift => {
            const {
                &[
                    Way::by_hand("put right what differs, or find out who changed it"),
                    Way::command("phoenix retry CTID", "then: look again and go on"),
                    Way::command("phoenix down CTID", "or destroy it; `phoenix up` makes it anew"),
                ]
            }
        }
        QuarantineReason::Budget => {
            const {
                &[
                    Way::command("phoenix history CTID", "see what was tried"),
                    Way::command("phoenix retry CTID", "once the cause is gone: try again with a new budget"),
                    Way::command("phoenix down CTID", "or destroy it; `phoenix up` makes it anew"),
                ]
            }
        }
        QuarantineReason::Undecodable => {
            const { &[Way::by_hand("use the version of phoenix that wrote it"), Way::command("phoenix journal verify", "is the journal whole?")] }
        }
    }
}

/// The commands among the ways out, for one container.
pub fn next_commands(reason: QuarantineReason, ctid: Ctid) -> Vec<String> {
    ways(reason).iter().filter_map(|way| way.command_for(ctid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_way_out() {
        for reason in QuarantineReason::ALL {
            assert!(!ways(reason).is_empty(), "{}", reason.name());
            assert!(!meaning(reason).is_empty(), "{}", reason.name());
        }
    }

    #[test]
    fn commands_name_the_container() {
        let ctid = Ctid::new(101).expect("in range");
        assert_eq!(next_commands(QuarantineReason::Interrupted, ctid), ["phoenix retry 101 --rerun", "phoenix retry 101 --skip"]);
    }
}

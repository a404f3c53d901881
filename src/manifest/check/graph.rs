//! Which container waits for which.
//!
//! Apart because order is one question with one answer: every container after those it depends on, and no circles. The clone source is a
//! dependency. Not here: what is done in that order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

use super::super::source::{Findings, Span};
use super::super::tables::ContainerTable;
use super::Context;
use crate::ids::Ctid;

/// All containers, each after those it depends on; containers in a circle, which is reported, come last.
pub(super) fn order(context: &Context<'_>, found: &mut Findings) -> Vec<Ctid> {
    let needs: BTreeMap<Ctid, Vec<Need<'_>>> =
        context.containers.iter().map(|(ctid, entry)| (*ctid, entry.table.map(needs).unwrap_or_default())).collect();
    for need in needs.values().flatten().filter(|need| !context.containers.contains_key(&need.on)) {
        found.problem(need.span, format!("{} {} is not in this fleet", need.role, need.on), known(context));
    }
    let mut graph = DiGraph::<Ctid, ()>::new();
    let nodes: BTreeMap<Ctid, _> = needs.keys().map(|ctid| (*ctid, graph.add_node(*ctid))).collect();
    for (ctid, list) in &needs {
        for on in list.iter().filter_map(|need| nodes.get(&need.on)) {
            graph.update_edge(nodes[ctid], *on, ());
        }
    }
    for component in kosaraju_scc(&graph) {
        report_circle(&component.into_iter().map(|node| graph[node]).collect(), &needs, found);
    }
    smallest_first(&needs)
}

/// An order in which every container stands after those it depends on, and the smallest id first where there is a choice; containers that
/// wait for a circle, or in one, come last.
fn smallest_first(needs: &BTreeMap<Ctid, Vec<Need<'_>>>) -> Vec<Ctid> {
    let mut waits: BTreeMap<Ctid, BTreeSet<Ctid>> = BTreeMap::new();
    let mut wanted_by: BTreeMap<Ctid, Vec<Ctid>> = BTreeMap::new();
    for (ctid, list) in needs {
        let on: BTreeSet<Ctid> = list.iter().map(|need| need.on).filter(|on| needs.contains_key(on)).collect();
        for needed in &on {
            wanted_by.entry(*needed).or_default().push(*ctid);
        }
        waits.insert(*ctid, on);
    }
    let mut ready: BTreeSet<Ctid> = waits.iter().filter(|(_, on)| on.is_empty()).map(|(ctid, _)| *ctid).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(ctid) = ready.pop_first() {
        order.push(ctid);
        waits.remove(&ctid);
        for waiting in wanted_by.remove(&ctid).unwrap_or_default() {
            if let Some(on) = waits.get_mut(&waiting) {
                on.remove(&ctid);
                ready.extend(on.is_empty().then_some(waiting));
            }
        }
    }
    order.extend(waits.into_keys());
    order
}

/// One reference from a container to another.
struct Need<'a> {
    on: Ctid,
    span: &'a Span,
    role: &'static str,
}

fn needs(table: &ContainerTable) -> Vec<Need<'_>> {
    let source = table.clone_from.given().map(|at| Need { on: at.value, span: &at.span, role: "the clone source" });
    let listed = table.depends_on.given().into_iter().flat_map(|list| &list.value.values);
    source.into_iter().chain(listed.map(|at| Need { on: at.value, span: &at.span, role: "container" })).collect()
}

fn known(context: &Context<'_>) -> String {
    let shown: Vec<String> = context.containers.keys().take(KNOWN_SHOWN_MAX).map(ToString::to_string).collect();
    let more = if context.containers.len() > KNOWN_SHOWN_MAX { ", …" } else { "" };
    format!("the fleet has {}{more}", shown.join(", "))
}

/// How many containers a message lists, and how long a circle it prints.
const KNOWN_SHOWN_MAX: usize = 10;

/// Prints the shortest circle through the smallest container of a component, if it has one.
fn report_circle(component: &BTreeSet<Ctid>, needs: &BTreeMap<Ctid, Vec<Need<'_>>>, found: &mut Findings) {
    let Some(first) = component.first().copied() else { return };
    let Some(circle) = circle(first, component, needs) else { return };
    let span = needs[&first].iter().find(|need| circle.get(1) == Some(&need.on)).map(|need| need.span);
    let Some(span) = span else { return };
    if circle.len() == 2 {
        found.problem(span, format!("container {first} depends on itself"), "remove this");
        return;
    }
    let names: Vec<String> = circle.iter().map(ToString::to_string).collect();
    let shown = match names.as_slice() {
        long if long.len() > KNOWN_SHOWN_MAX => {
            format!("{} -> … -> {}", long[..KNOWN_SHOWN_MAX - 2].join(" -> "), long[long.len() - 2..].join(" -> "))
        }
        short => short.join(" -> "),
    };
    found.problem(span, format!("containers wait for each other in a circle: {shown}"), "take one of these dependencies out");
}

/// The containers from `first` back to itself, both ends included.
fn circle(first: Ctid, component: &BTreeSet<Ctid>, needs: &BTreeMap<Ctid, Vec<Need<'_>>>) -> Option<Vec<Ctid>> {
    let mut came_from = BTreeMap::new();
    let mut ahead = VecDeque::from([first]);
    while let Some(ctid) = ahead.pop_front() {
        for on in needs[&ctid].iter().map(|need| need.on).filter(|on| component.contains(on)) {
            if on == first {
                let mut back = vec![first, ctid];
                while let Some(before) = back.last().and_then(|last| came_from.get(last)) {
                    back.push(*before);
                }
                if ctid == first {
                    back.truncate(2);
                }
                back.reverse();
                return Some(back);
            }
            if on != first && !came_from.contains_key(&on) {
                came_from.insert(on, ctid);
                ahead.push_back(on);
            }
        }
    }
    None
}

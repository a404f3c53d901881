//! `/etc/pve/.members`: which node this is, and whether its cluster can be written to.
//!
//! The file is made up by the cluster's file system. Where that is not mounted, `/etc/pve` is an empty directory, and nothing
//! that is missing there is known to be missing: an observation counts only if this file names the node. Not here: the guests.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// This node's name.
    pub node: String,
    /// The cluster, unless the node stands alone.
    pub cluster: Option<Cluster>,
}

/// A cluster, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Whether enough nodes are there; without them `/etc/pve` cannot be written.
    pub quorate: bool,
    /// Its nodes, and whether each is there.
    pub nodes: BTreeMap<String, bool>,
}

#[derive(Deserialize)]
struct Written {
    nodename: String,
    #[serde(default)]
    cluster: Option<WrittenCluster>,
    #[serde(default)]
    nodelist: BTreeMap<String, WrittenNode>,
}

#[derive(Deserialize)]
struct WrittenCluster {
    name: String,
    quorate: u8,
}

#[derive(Deserialize)]
struct WrittenNode {
    #[serde(default)]
    online: u8,
}

impl Members {
    /// Reads it; `None` if it names no node.
    pub fn parse(text: &str) -> Option<Self> {
        let Written { nodename: node, cluster, nodelist } = serde_json::from_str(text).ok()?;
        let nodes = nodelist.into_iter().map(|(name, WrittenNode { online })| (name, online != 0)).collect();
        let cluster = cluster.map(|WrittenCluster { name, quorate }| Cluster { name, quorate: quorate != 0, nodes });
        (!node.is_empty()).then_some(Self { node, cluster })
    }

    /// Whether `/etc/pve` can be written to.
    pub fn is_writable(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.quorate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_alone_and_a_cluster_are_read() {
        let alone = Members::parse("{\n\"nodename\": \"vm\",\n\"version\": 0\n}\n").expect("a node");
        assert_eq!((alone.node.as_str(), alone.is_writable()), ("vm", true));
        let text = r#"{"nodename": "pve1", "version": 4,
            "cluster": { "name": "home", "version": 2, "nodes": 2, "quorate": 0 },
            "nodelist": { "pve1": { "id": 1, "online": 1, "ip": "10.0.0.1"}, "pve2": { "id": 2, "online": 0} } }"#;
        let members = Members::parse(text).expect("a cluster");
        assert!(!members.is_writable());
        assert_eq!(members.cluster.map(|cluster| cluster.nodes["pve2"]), Some(false));
    }

    #[test]
    fn what_names_no_node_is_no_answer() {
        for text in ["", "{}", "[]", r#"{"nodename": ""}"#, r#"{"nodename": 1}"#, r#"{"nodename": "a", "cluster": {}}"#] {
            assert_eq!(Members::parse(text), None, "{text:?}");
        }
    }
}

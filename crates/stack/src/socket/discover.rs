//! What a socket wants of the path's MTU (`IP_MTU_DISCOVER`).

/// Whether packets may be fragmented, and whether the path's MTU is believed (ip(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MtuDiscover {
    /// Fragments here and on the way.
    Dont,
    /// Fragments here by the path's MTU, never on the way.
    #[default]
    Want,
    /// No fragments: longer datagrams are refused with EMSGSIZE.
    Do,
    /// No fragments, and the path's MTU is not believed.
    Probe,
    /// No fragments here, but on the way; the path's MTU is not believed.
    Interface,
    /// Fragments here by the interface's MTU, and on the way; the path's is not believed.
    Omit,
}

impl MtuDiscover {
    /// Whether packets forbid routers to fragment them.
    pub(crate) fn forbids_fragments(self) -> bool {
        matches!(self, MtuDiscover::Want | MtuDiscover::Do | MtuDiscover::Probe)
    }

    /// Whether what the path is said to carry counts, beside the interface's MTU.
    pub(crate) fn believes_path(self) -> bool {
        matches!(self, MtuDiscover::Dont | MtuDiscover::Want | MtuDiscover::Do)
    }

    /// Whether the host itself cuts what is too long.
    pub(crate) fn fragments(self) -> bool {
        matches!(self, MtuDiscover::Dont | MtuDiscover::Want | MtuDiscover::Omit)
    }
}

//! Which activations there are, and what is asked of a kind without computing anything.

/// The enum, the list of all kinds and `with_kind!`, which must not differ, from one list. `$d` is a `$`: only so can a macro write the
/// variables of another.
macro_rules! kinds {
    ($d:tt $($(#[$doc:meta])* $name:ident,)*) => {
        /// The activations of the supported models.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ActivationKind {
            $($(#[$doc])* $name,)*
        }

        /// Every kind, in the order of their numbers.
        pub(super) const ALL: [ActivationKind; [$(ActivationKind::$name),*].len()] = [$(ActivationKind::$name),*];

        /// `$body` with `$f` bound to the unit struct of the kind.
        macro_rules! with_kind {
            ($d kind:expr, $d f:ident => $d body:expr) => {
                match $d kind {
                    $(ActivationKind::$name => {
                        let $d f = $crate::ops::activation::formulas::$name;
                        $d body
                    })*
                }
            };
        }
        pub(super) use with_kind;
    };
}

// A new one goes at the end: a kind's place is the number that the bindings pass. Its struct of the same name is in `formulas.rs`.
kinds! { $
    /// max(0, x).
    Relu,
    /// x Φ(x), with Φ from erf (Hendrycks and Gimpel 2016).
    Gelu,
    /// The tanh approximation of GELU (GPT-2).
    GeluNew,
    /// x σ(x).
    Silu,
    Tanh,
    Identity,
    /// x σ(1.702 x).
    QuickGelu,
    /// σ(x).
    Sigmoid,
    /// x where positive, else 0.01 x.
    LeakyRelu,
    /// max(0, x)² (So et al. 2021).
    Relu2,
    /// max(0, x), at most 6.
    Relu6,
    /// x tanh(ln(1 + e^x)) (Misra 2019).
    Mish,
}

impl ActivationKind {
    /// From its position in this enum, the number that the bindings pass.
    pub fn from_index(index: u32) -> Option<ActivationKind> {
        ALL.get(index as usize).copied()
    }

    /// Whether the derivative can be read off the output: 0 where that is an exact zero, 1 elsewhere.
    pub fn needs_no_input(self) -> bool {
        self == ActivationKind::Relu
    }
}

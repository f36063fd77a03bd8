"""The five steps of transfer learning, in order; read `five_steps` first."""

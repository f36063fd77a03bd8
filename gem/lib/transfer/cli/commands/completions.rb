# frozen_string_literal: true

require_relative "../completions"

module Transfer
  module CLI
    class Root
      desc "completions bash|zsh|fish", "Print a completion script for a shell"
      long_desc <<~TEXT
        Add the line of your shell to its startup file; in zsh after compinit.

          source <(transfer completions bash)       # ~/.bashrc
          source <(transfer completions zsh)        # ~/.zshrc
          transfer completions fish | source        # ~/.config/fish/config.fish
      TEXT
      def completions(shell) = puts(Completions.script(shell))
    end
  end
end

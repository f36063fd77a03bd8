# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "uninstall", "Remove the Python environment, cache and settings"
      long_desc <<~TEXT
        Lists the environment, cache, downloaded weights and settings in
        ~/.local/share/transfer, or TRANSFER_HOME, with their sizes, asks, and removes
        them. Keeps runs, with their models, unless --all is given. Other files are not
        touched.

          transfer uninstall
          transfer uninstall --all --yes

        Stop all programs that use Transfer first. Then remove the gem:
        gem uninstall transfer-rb.
      TEXT
      option :all, type: :boolean, desc: "Remove runs as well"
      option :yes, type: :boolean, desc: "Don't ask"
      shared_options :json
      def uninstall
        parts = Uninstall.parts(all: options.fetch(:all, false))
        unless parts.empty?
          rows = parts.map { |part| [part.name, Amounts.size(part.bytes), part.paths.join(", ")] }
          warn Table.render([*rows, ["total", Amounts.size(parts.sum(&:bytes)), ""]])
          confirm_removal unless options[:yes]
          Uninstall.remove(parts)
        end
        output(parts.map(&:to_h)) { parts.empty? ? "Nothing to remove in #{Python.home}" : "Removed" }
      end

      private

      def confirm_removal
        raise Thor::Error, "uninstall asks on a terminal. Without one, give --yes" unless $stdin.tty?

        $stderr.print "Remove all of this? [y/N] "
        finish ExitStatus::INTERRUPTED unless $stdin.gets.to_s.strip.match?(/\Ay(es)?\z/i)
      end
    end
  end
end

# frozen_string_literal: true

module Transfer
  # Removal of what the gem keeps.
  class CLI
    desc "uninstall", "Remove the Python half, the cache and the settings"
    long_desc <<~TEXT, wrap: false
      Lists the environment, the cache, downloaded weights and settings in
      ~/.local/share/transfer, or TRANSFER_HOME, with their sizes, asks, and removes
      them. Runs, with the models in them, are kept unless --all is given. Nothing
      outside is touched, nor is a file there that is not the gem's.

        transfer uninstall
        transfer uninstall --all --yes

      Nothing is removed while a worker uses it: end the programs that use Transfer
      first. The gem itself: gem uninstall transfer-rb.
    TEXT
    option :all, type: :boolean, desc: "Remove runs, too"
    option :yes, type: :boolean, desc: "Don't ask"
    json_option
    # Removes the managed environment and kept files.
    def uninstall
      parts = Uninstall.parts(all: options.fetch(:all, false))
      unless parts.empty?
        warn Table.render([*parts.map { |part| removal_row(part) }, ["together", Amounts.size(parts.sum(&:bytes)), ""]])
        confirm_removal unless options[:yes]
        Uninstall.remove(parts)
      end
      answer(parts.map(&:to_h)) { puts parts.empty? ? "Nothing to remove in #{Python.home}" : "Removed." }
    end

    private

    def removal_row(part) = [part.name, Amounts.size(part.bytes), part.paths.join(", ")]

    def confirm_removal
      raise Thor::Error, "uninstall asks on a terminal; without one, give --yes" unless $stdin.tty?

      $stderr.print "Remove all of this? [y/N] "
      finish FAULT unless $stdin.gets.to_s.strip.match?(/\Ay(es)?\z/i)
    end
  end
end

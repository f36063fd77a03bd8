# frozen_string_literal: true

module Transfer
  class CLI < Thor
    # What `transfer help` prints, no wider than 80 columns.
    module Help
      # @return [void]
      def help(shell, *)
        rows = all_commands.values.reject(&:hidden?).map { |command| ["transfer #{command.name}", command.description] }
        shell.say <<~TEXT
          Transfer learning: a pretrained network learns your photos.

          #{Table.render(rows)}
          `transfer help train` explains one of them, with examples.

          Ends with 0 if it worked, 1 if the data, the recipe or the machine is at fault,
          2 if the command line is wrong, 130 if it was stopped. TRANSFER_DEBUG=1 shows
          where an error came from.
        TEXT
      end

      # @return [void]
      def command_help(shell, name)
        command = all_commands.fetch(normalize_command_name(name)) { handle_no_command_error(name) }
        shell.say "#{banner(command)}\n\n#{command.description}.\n\n#{command.long_description}"
        command.options.values.group_by(&:group).each do |group, options|
          rows = options.map { |option| [switch(option), option.description] }
          shell.say "\n#{group || 'Options'}\n#{Table.render(rows).gsub(/^/, '  ')}"
        end
      end

      # @return [String] how to call a command
      def banner(command, *) = "transfer #{command.usage}"

      private

      def basename = "transfer"

      def switch(option) = [option.switch_name, (option.banner unless option.boolean?)].compact.join(" ")
    end
    private_constant :Help
  end
end

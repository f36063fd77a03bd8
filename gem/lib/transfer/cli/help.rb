# frozen_string_literal: true

module Transfer
  module CLI
    # Pages of `transfer help`, no wider than 80 columns.
    module Help
      # @return [Array<String>] the words before each command of this class
      def prefix = ["transfer", name[/\w+\z/].downcase]

      # @return [String] the text above the commands of this class
      def introduction
        group = Root.commands[prefix.last]
        "Usage: #{Root.banner(group)}\n\n#{group.description}.\n\n#{group.long_description}"
      end

      # @param words [Array<String>] of a command line
      # @return [Array<String>] those that name a command, such as `["runs", "show"]`
      def path(words)
        name = words.first
        return [] unless visible.map { |command| word(command) }.include?(name)

        [name, *subcommand_classes[name]&.path(words.drop(1))]
      end

      # Prints the commands of this class.
      # @return [void]
      def help(shell, *)
        rows = visible.map { |command| [[*prefix, word(command)].join(" "), command.description] }
        shell.say "#{introduction}\nCommands\n#{indented(rows)}\nTry: #{prefix.insert(1, 'help').join(' ')} COMMAND"
      end

      # Prints one command: usage, description, examples, options.
      # @return [void]
      def command_help(shell, name)
        command = all_commands.fetch(normalize_command_name(name)) { handle_no_command_error(name) }
        shell.say "Usage: #{banner(command)}\n\n#{command.description}.\n\n#{command.long_description}"
        command.options.values.group_by(&:group).each do |group, options|
          rows = options.map { |option| [switch(option), option.description] }
          shell.say "\n#{group || 'Options'}\n#{indented(rows)}"
        end
      end

      # @return [String] the usage of a command
      def banner(command, *) = [*prefix, command.usage].join(" ")

      # @return [String] the name of a command on the command line
      def word(command) = command.usage[/\S+/]

      # @return [Array<Thor::Command>] all but `help`
      def visible = commands.values.reject { |command| command.name == "help" || command.hidden? }

      private

      def indented(rows) = Table.render(rows).gsub(/^/, "  ")

      def switch(option) = [option.switch_name, (option.banner unless option.boolean?)].compact.join(" ")
    end
    private_constant :Help
  end
end

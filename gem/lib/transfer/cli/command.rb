# frozen_string_literal: true

require_relative "help"
require_relative "options"
require_relative "pictures"
require_relative "table"

module Transfer
  module CLI
    # Base of the command and its subcommands: options, help, output.
    class Command < Thor
      # Thor's value of an option that is given without one.
      NO_VALUE = "\u0000"
      private_constant :NO_VALUE

      check_unknown_options!
      extend Help

      class << self
        # Declares an option. One of text that is given without a value is an error, where Thor takes its default.
        def option(name, details = {})
          text = details.fetch(:type, :string) == :string
          super(name, { group: "Options", lazy_default: (NO_VALUE if text), **details }.compact)
        end

        # Declares options of the table {OPTIONS}.
        def shared_options(*names)
          names.each do |name|
            group, rows = OPTIONS.find { |_, options| options.key?(name) }
            banner, desc = rows.fetch(name)
            option(name, group:, desc:, banner:, type: banner ? :string : :boolean)
          end
        end

        # Raises Thor's error for a wrong number of arguments.
        def handle_argument_error(command, _error, args, _arity)
          count = { 0 => "no arguments", 1 => "1 argument" }.fetch(args.size) { |size| "#{size} arguments" }
          raise Thor::InvocationError, %(expected "#{banner(command)}", got #{count})
        end
      end

      # @raise [Thor::Error] for an option without its value
      def initialize(...)
        super
        name, = options.find { |_, value| value == NO_VALUE }
        raise Thor::Error, "--#{name.tr('_', '-')} needs a value" if name
      end

      private

      # Prints the result as JSON with `--json`, else the text that the block returns, if any.
      def output(result)
        options[:json] ? puts(JSON.pretty_generate(result)) : puts(*yield)
      end

      # @return [Symbol, nil] the protocol for pictures, if the command shows some
      def pictures = (Pictures.protocol($stdout, options[:pictures]) unless options[:json])

      # Shows a PNG in the terminal, if it can.
      def show_picture(png)
        $stdout.write(Pictures.encode(png, pictures)) if png&.start_with?("\x89PNG".b) && pictures
      end

      # Ends a command whose output is complete.
      def finish(status) = throw(:exit_status, status)

      # @return [Integer, Float, nil] bytes or seconds
      def amount(option, kind, expected)
        text = options[option] or return
        Amounts.public_send(kind, text) ||
          raise(Thor::Error, "--#{option.to_s.tr('_', '-')} takes #{expected}, got #{text}")
      end

      # @return [Model]
      def open_model(file)
        Transfer.load(file, trust: options.fetch(:trust, false), signed_by: options[:signed_by])
      end

      # Checks before the work starts that its result can be written.
      # @return [String] the file that the option names
      def output_file(option, example)
        file = options[option]
        raise Thor::Error, "--#{option} needs the name of a file, such as #{example}" if file.empty?

        obstacle = obstacle_to(file, example)
        raise ConfigurationError, "#{file} #{obstacle}" if obstacle

        file
      end

      def obstacle_to(file, example)
        folder = File.dirname(File.expand_path(file))
        if File.directory?(file) then "is a directory. Fix: name a file, such as #{File.join(file, example)}"
        elsif File.exist?(file) && !File.file?(file) then "can't be written: it is not a regular file"
        elsif File.exist?(file) && !options[:force] then "exists already. Fix: --force overwrites it"
        elsif !File.directory?(folder) then "can't be written: there is no directory #{folder}"
        elsif !File.writable?(folder) then "can't be written: no permission to write into #{folder}"
        end
      end
    end
    private_constant :Command
  end
end

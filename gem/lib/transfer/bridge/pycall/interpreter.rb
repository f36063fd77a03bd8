# frozen_string_literal: true

require "open3"

module Transfer
  module Bridge
    module PyCall
      # The Python in this process: loaded once, and there until the process ends. One thread owns it, and executes
      # what Ruby wants of it. That is little: to start threads of Python's own, which compute.
      class Interpreter
        class << self
          # @param python [String] the interpreter whose library and packages are wanted
          # @return [Interpreter] the one of this process
          # @raise [ConfigurationError, DependencyError]
          def load(python)
            MUTEX.synchronize do
              Refusal.check_other_python unless @loaded
              interpreter = @loaded || new(python)
              @loaded = interpreter if interpreter.started?
              interpreter.check(python)
            end
          end
        end

        MUTEX = Mutex.new
        private_constant :MUTEX

        def initialize(python)
          @python = python
          @jobs = Queue.new
          started = Queue.new
          Thread.new { own(started) }.name = "transfer-python"
          @failure = started.pop
        end

        # @return [Boolean] true if Python was loaded, even if it is of no use: there is no going back
        def started? = !@gil.nil?

        # @return [self]
        # @raise [ConfigurationError, DependencyError] if it could not be loaded, or if it is not that of `python`
        def check(python)
          raise @failure if @failure
          return self if python == @python

          raise ConfigurationError, "#{@python} is loaded in this process and can't be exchanged for #{python}: " \
                                    "start another process, or #{Refusal::WAY_OUT}"
        end

        # Serves a socket from threads of Python's, and returns at once.
        # @param ios [Array<IO>] our end's other end, two files of shared memory, where to write when it has ended
        # @param settings [Hash{Symbol => String, nil}] environment variables
        # @raise [ConfigurationError]
        def serve(ios, settings) = run { @core.serve(*ios.map(&:fileno), **settings) }

        private

        def run(&job)
          answer = Queue.new
          @jobs << [job, answer]
          error = answer.pop
          raise error if error
        end

        def own(started)
          started << failure_of { start }
          while @gil && (job, answer = @jobs.pop)
            answer << @gil.hold { failure_of(&job) } # what an error says is asked of Python
          end
        end

        # @return [Error, nil]
        def failure_of
          yield
          nil
        rescue Error => error
          error
        rescue StandardError, ScriptError => error
          unusable(error)
        end

        def unusable(error)
          ConfigurationError.new("can't use #{@python} in this process (#{error.message}): #{Refusal::WAY_OUT}")
        end

        def start
          require_pycall
          find_its_packages { load_library }
          @gil = Gil.new(::PyCall::LibPython.handle)
          import
          Process.singleton_class.prepend(ForkHook.around(@gil))
        ensure
          @gil&.give_up
        end

        def require_pycall
          require "pycall"
        rescue LoadError
          raise DependencyError, "bridge = :pycall needs the gem pycall: gem install pycall"
        end

        # Python finds a virtual environment by the python3 on the PATH, unless PYTHONHOME is set, as PyCall does where
        # there is none.
        def find_its_packages
          before = %w[PATH PYTHONHOME].to_h { |name| [name, ENV.fetch(name, nil)] }
          ENV["PATH"] = [File.dirname(@python), before["PATH"]].compact.join(File::PATH_SEPARATOR)
          ENV["PYTHONHOME"] = ""
          yield
        ensure
          ENV.update(before)
        end

        def load_library
          library = ::PyCall::LibPython::Finder.find_libpython(@python)
          wanted = Open3.capture2(@python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").first.chomp
          # What it returns where it found nothing is anything.
          found = library.is_a?(Fiddle::Handle) && version(library)
          raise ConfigurationError, no_library(wanted) unless found == wanted

          ::PyCall.init(@python)
        end

        def version(library)
          Fiddle::Function.new(library["Py_GetVersion"], [], Fiddle::TYPE_VOIDP).call.to_s[/\d+\.\d+/]
        end

        def no_library(version)
          "#{@python} has no shared library to load (Debian: apt-get install libpython#{version}; " \
            "pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install #{version}): install it, or #{Refusal::WAY_OUT}"
        end

        def import
          ::PyCall.sys.path.insert(0, File.join(Python::ROOT, "python"))
          @core = ::PyCall.import_module("transfer_core.worker.embedded")
        rescue ::PyCall::PyError => error
          missing = error.message[/No module named '?(\w+)/, 1]
          raise DependencyError, "#{@python} has no module #{missing}: run `transfer setup`" if missing

          raise unusable(error)
        end

        # What surrounds every fork of this process from now on.
        module ForkHook
          def self.around(gil)
            Module.new do
              define_method(:_fork) { gil.hold_during_fork { super() } }
              # Only the child comes back from it.
              define_method(:daemon) { |*words| gil.hold_during_fork { super(*words) } }
            end
          end
        end
        private_constant :ForkHook
      end
    end
  end
end

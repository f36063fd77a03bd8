# frozen_string_literal: true

# A real Rails application that reloads code, as in development.
RSpec.describe "Rails, with code reloading" do
  app = <<~'RUBY'
    require "rails"
    require "logger"
    FOLDER = Dir.pwd
    MODEL = File.join(FOLDER, "app/models/species.rb")

    # A new version of the class on disk.
    def write(version)
      FileUtils.mkdir_p(File.dirname(MODEL))
      File.write(MODEL, "class Species; def self.version = #{version}; end")
      File.utime(Time.now, Time.now - 100 + version, MODEL) # Rails compares times, and ignores those to come
    end

    write(1)
    class App < Rails::Application
      config.load_defaults 7.1
      config.root = FOLDER
      config.eager_load = false
      config.enable_reloading = true
      config.logger = Logger.new(nil)
    end
    App.initialize!
    launch.call("core")
    Transfer.config.quiet = true

    # As the middleware does for each request: reloads if a file has changed.
    def request(&) = Rails.application.reloader.wrap(&)

    # Another thread changes the file, and serves a request with the new version.
    def edit(version)
      write(version)
      Thread.new { request { Species.version } }
    end

    # Rows, until the request beside has been served; 300 if it never is. The fifth starts it.
    def rows(beside)
      Enumerator.new do |to|
        300.times do |number|
          sleep 0.01
          beside << edit(2) if number == 4
          to << { input: "photo.png", label: "v#{Species.version}" }
          break if beside.any? && !beside.last.alive? && Species.version == 2
        end
      end
    end

    def served(beside) = beside.last.join(0) ? beside.last.value : "waits"
    def delays_reload = ActiveSupport::Dependencies.interlock.raw_state { |threads| threads.key?(Thread.current) }
    beside = []
    Thread.new { sleep 60; abort Thread.list.map { |thread| ["hangs:", *thread.backtrace].join("\n  ") }.join("\n") }
  RUBY

  # @return [Array<String>] the lines that the program printed
  define_method(:in_app) do |code|
    Dir.mktmpdir do |folder|
      command = [RbConfig.ruby, "-W0", "-I", Scripts::LIB, "-e", Scripts::PRELUDE + app + code]
      output, status = Open3.capture2e(*command, chdir: folder)
      expect(status).to be_success, output
      output.lines(chomp: true)
    end
  end

  {
    "in a request" => <<~RUBY,
      request { Transfer.train(backbone: "b", data: rows(beside)); puts served(beside), delays_reload }
    RUBY
    "in a request, in the background" => <<~RUBY,
      request { Transfer.train_async(backbone: "b", data: rows(beside)).value; puts served(beside), delays_reload }
    RUBY
    "outside of requests" => <<~RUBY,
      Transfer.train(backbone: "b", data: rows(beside))
      puts served(beside), !delays_reload
    RUBY
    "evaluated in a request" => <<~RUBY
      model = Transfer.train(backbone: "b", data: "photos")
      request { model.evaluate(rows(beside)); puts served(beside), delays_reload }
    RUBY
  }.each do |place, code|
    it "reloads code while rows are read #{place}" do
      expect(in_app(code)).to eq(%w[2 true])
    end
  end

  it "reloads code while a training without rows is waited for in a request" do
    expect(in_app(<<~RUBY)).to eq(%w[2])
      request do
        job = Transfer.train_async(backbone: "endless", data: "photos")
        watcher = Thread.new { (reader = edit(2)).join(20); beside << reader; job.cancel }
        job.value
      rescue Transfer::Cancelled
        watcher.join
        puts served(beside)
      end
    RUBY
  end

  it "keeps classes while a row is made, and while a block of an event runs" do
    expect(in_app(<<~RUBY)).to eq(%w[row:1:waits epoch:2:waits 3])
      check = lambda do |place, version|
        before = Species
        beside << edit(version)
        sleep 0.01 until beside.last.status == "sleep" # it waits to reload
        sleep 0.2
        puts [place, (Species.version if Species.equal?(before)), served(beside)].join(":")
      end
      data = Enumerator.new { |to| check.call("row", 2); to << { input: "photo.png", label: "a" } }
      Transfer.train(backbone: "b", data:)
      beside.last.join
      Transfer.train(backbone: "b", data: "photos", on: { epoch: ->(epoch) { check.call("epoch", 3) if epoch.number == 1 } })
      puts beside.last.value
    RUBY
  end

  it "uses the executor of the settings, or none" do
    expect(in_app(<<~RUBY)).to eq(["rails true", "set true", "none false", "an object with `wrap`"])
      active = ->(_) { Rails.application.executor.active? }
      said = nil
      rows = Enumerator.new { |to| said = active.call(nil); to << { input: "photo.png", label: "a" } }
      Transfer.train(backbone: "b", data: rows)
      puts "rails \#{said}"
      own = Object.new
      def own.wrap
        @wrapped = true
        yield
      end
      Transfer.config.executor = own
      Transfer.train(backbone: "b", data: rows)
      puts "set \#{own.instance_variable_get(:@wrapped)}"
      Transfer.config.executor = false
      Transfer.train(backbone: "b", data: rows)
      puts "none \#{said}"
      begin
        Transfer.config.executor = 1
      rescue Transfer::ConfigurationError => error
        puts error.message[/an object with `wrap`/]
      end
    RUBY
  end
end

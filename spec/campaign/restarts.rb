# frozen_string_literal: true

require_relative "../rails/helper"
require "net/http"

module Restarts
  Response = Data.define(:at, :seconds, :code, :pid, :price)

  # Clients that send requests without a pause, each request with a connection of its own.
  class Clients
    TYPE = { "Content-Type" => "application/x-www-form-urlencoded" }.freeze

    def initialize(port, count)
      @port = port
      @responses = []
      @lock = Mutex.new
      @threads = Array.new(count) { Thread.new { request until @stopped } }
    end

    def responses = @lock.synchronize { @responses.dup }
    def processes(after: 0) = responses.filter_map { |one| one.pid if one.at > after }.uniq

    def stop
      @stopped = true
      @threads.each(&:join)
    end

    private

    def request
      at = Leaks.now
      response = Net::HTTP.start("127.0.0.1", @port, read_timeout: 300) { |http| http.post("/flats?size=40", "", TYPE) }
      body = response.is_a?(Net::HTTPOK) ? JSON.parse(response.body) : {}
      keep(at, response.code, body["pid"], body["price"]&.round(-2))
    rescue SystemCallError, IOError => error
      keep(at, error.class.name)
    end

    def keep(at, code, pid = nil, price = nil)
      @lock.synchronize { @responses << Response.new(at:, seconds: Leaks.now - at, code:, pid:, price:) }
    end
  end
end

# Counts the responses of a Puma cluster that is restarted under load while a version is promoted.
RSpec.describe "A Puma cluster of two processes" do
  before { reset }
  after { reset }

  let(:model) { Transfer::Rails.model("flats") }
  let(:port) { TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] } }

  # @return [Transfer::Rails::Version] one that predicts about this price
  def version(price)
    rows = Array.new(9) { |i| { input: { size: 40.0 + i, district: %w[a b][i % 2] }, label: price + (i % 3.0) } }
    trained = Transfer.train(backbone: "sklearn:ColumnTransformer", data: rows, task: :regression, quiet: true)
    Transfer::Rails::Version.publish(model.runs.create!(recipe: "FlatRecipe", status: "succeeded"), trained)
  end

  def files(preload)
    File.write("#{FOLDER}/config.ru", <<~RUBY)
      require #{File.expand_path('../rails/test_app', __dir__).inspect}
      class FlatsController < ActionController::API
        def create
          flat = Flat.create!(size: params[:size], district: "north")
          flat.predict_price!
          render json: { pid: Process.pid, price: flat.price }
        end
      end
      Rails.application.routes.draw { post "/flats", to: "flats#create" }
      run Rails.application
    RUBY
    File.write("#{FOLDER}/puma.rb", <<~RUBY)
      bind "tcp://127.0.0.1:#{port}"
      workers 2
      threads 2, 2
      preload_app! #{preload}
    RUBY
  end

  # @yieldparam pid [Integer] of the first process
  def serving(preload:)
    files(preload)
    environment = { "TRANSFER_SPEC_APP" => FOLDER, "TRANSFER_HOME" => Transfer.config.home,
                    "TRANSFER_IDLE_STOP" => "20", "TRANSFER_SHARED_WORKER" => preload.to_s,
                    "RUBYLIB" => File.expand_path("../../gem/lib", __dir__) }
    pid = spawn(environment, "puma", "-C", "puma.rb", chdir: FOLDER, %i[out err] => "#{FOLDER}/puma.log")
    @clients = Restarts::Clients.new(port, 3)
    eventually(200) { @clients.processes.size == 2 }
    yield pid, @clients
  ensure
    @clients&.stop
    Process.kill(:TERM, pid)
    Process.wait(pid)
    expect(eventually(60) { processes.empty? }).to be(true), "left behind: #{processes}"
  end

  # Those of the cluster, with the Python processes that it started.
  def processes
    Dir["/proc/[0-9]*/environ"].filter_map do |file|
      file[/\d+/].to_i if File.read(file).include?("TRANSFER_SPEC_APP=#{FOLDER}\0")
    rescue SystemCallError
      nil
    end
  end

  def report(name, started, responses)
    served = responses.select { |one| one.at >= started }
    longest = served.map(&:seconds).max.round(1)
    puts "#{name}: #{served.size} requests, #{served.map(&:code).tally}, longest #{longest} s"
  end

  { true => "SIGUSR1 with preload, a restart of all", false => "SIGUSR1 without preload, one process after the other" }
    .each do |preload, name|
    it "fails no request: #{name}" do
      first, second = [100.0, 200.0].map { |price| version(price) }
      model.promote!(first)
      serving(preload:) do |pid, clients|
        old = clients.processes
        started = Leaks.now
        Process.kill(:USR1, pid)
        eventually(200) { (clients.processes - old).size == 2 }
        promoted = Leaks.now
        model.promote!(second)
        # Every process asks the database once per second.
        eventually(100) { (clients.processes - old - clients.processes(after: promoted + 1)).empty? }
        clients.stop
        report(name, started, clients.responses)
        after = clients.responses.select { |one| one.at > promoted + 1 }
        expect(after.map(&:pid).uniq - old).to match_array(clients.processes - old)
        expect(after.map(&:price)).to all(eq(200.0))
        expect(clients.responses.select { |one| one.at >= started }.map(&:code)).to all(eq("200"))
      end
    end
  end
end

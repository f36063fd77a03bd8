# frozen_string_literal: true

require "csv"

RSpec.describe "A training on a Ray cluster", :end_to_end do
  before do
    skip "needs ray" unless system(Workers::PYTHON, "-c", "import ray", err: File::NULL)
  end

  # A head with one core, ended with its standard input.
  def with_cluster
    script = File.expand_path("../../tests/ray_cluster.py", __dir__)
    IO.popen([Workers::PYTHON, script, "start_head"], "r+") do |io|
      address, token = io.gets.split
      ENV["RAY_AUTH_TOKEN"] = token
      yield address
      io.close_write
    ensure
      ENV.delete("RAY_AUTH_TOKEN")
    end
  end

  def table(folder)
    File.join(folder, "rows.csv").tap do |path|
      rows = (0...60).map { |i| [i % 7, (i * 3) % 11, i % 7 > 3 ? "high" : "low"] }
      File.write(path, [%w[a b label], *rows].map(&:to_csv).join)
    end
  end

  it "is the same call, with an engine" do
    Dir.mktmpdir do |folder|
      with_cluster do |address|
        Transfer.config.engine = address
        Transfer.config.storage = File.join(folder, "storage")
        stages = []
        job = Transfer.train_async(backbone: "sklearn:StandardScaler", data: table(folder), quiet: true)
        job.on(:stage) { |stage| stages << stage.step }
        there = job.value
        expect(stages).to include(:freeze, :evaluate)
        expect(Transfer.resume(job.run_id, quiet: true).metrics).to eq(there.metrics)

        Transfer.config.engine = Transfer.config.storage = nil
        here = Transfer.train(backbone: "sklearn:StandardScaler", data: table(folder), quiet: true)
        expect(there.metrics).to eq(here.metrics)
        expect(there.predict({ a: 1, b: 2 }).scores).to eq(here.predict({ a: 1, b: 2 }).scores)
      ensure
        Transfer.config.engine = Transfer.config.storage = nil
      end
    end
  end
end

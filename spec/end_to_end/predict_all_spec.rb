# frozen_string_literal: true

require "csv"

RSpec.describe "Predicting all inputs", :end_to_end do
  let(:source) { "#{@scratch}/new.csv" }
  let(:into) { "#{@scratch}/out.csv" }
  let(:model) { @model ||= Transfer.train(backbone: "sklearn:StandardScaler", data: labelled, quiet: true) }
  let(:labelled) { Array.new(60) { |i| { input: { x: i % 2, y: i.fdiv(60) }, label: %w[low high][i % 2] } } }

  def table(count)
    rows = Array.new(count) { |i| "#{i.fdiv(count)},0.5" }
    File.write(source, ["x,y", *rows].join("\n"))
  end

  it "writes a row for each, from Ruby and from the shell" do
    table(30)
    found = model.predict_all(source, into:, part: 7, quiet: true)
    expect(found).to have_attributes(path: Pathname(into), rows: 30, failed: 0, reused: 0)
    rows = CSV.read(into, headers: true)
    expect(rows["row"]).to eq((0...30).map(&:to_s))
    pool = Array.new(30) { |i| { x: i.fdiv(30), y: 0.5 } }
    expect(rows["label"]).to eq(model.predict(pool).map(&:label))
    model.predict_all(pool.each, into: "#{@scratch}/rows.csv", quiet: true)
    expect(CSV.read("#{@scratch}/rows.csv", headers: true)["scores"]).to eq(rows["scores"])
    model.save("#{@scratch}/m.transfer")
    out, err, status = transfer("predict-all", "#{@scratch}/m.transfer", source, "--into", into, "--quiet", "--json")
    expect([JSON.parse(out), err, status])
      .to eq([{ "path" => into, "rows" => 30, "failed" => 0, "reused" => 0 }, "", 0])
    expect { model.predict_all("s3:/new", into:) }.to raise_error(Transfer::DataError, /does not exist/)
  end

  it "resumes after the worker was killed" do
    table(1500)
    caller = Thread.new { model.predict_all(source, into:, part: 1, quiet: true) }
    caller.report_on_exception = false
    done = -> { Dir["#{into}.parts/*.jsonl"].size }
    Timeout.timeout(60) { sleep 0.01 until done.call > 20 || !caller.alive? }
    pids = Transfer.stats[:workers].values.flat_map { |worker| worker[:processes].map { |one| one[:pid] } }
    pids.each { |pid| Process.kill(:KILL, pid) }
    expect { caller.value }.to raise_error(Transfer::WorkerCrashed)
    before = done.call
    expect(before).to be < 1500
    found = model.predict_all(source, into:, part: 1, quiet: true)
    expect(found).to have_attributes(rows: 1500, reused: be >= before)
    expect(CSV.read(into, headers: true)["row"]).to eq((0...1500).map(&:to_s))
    expect(Dir["#{into}.parts"]).to eq([])
  end
end

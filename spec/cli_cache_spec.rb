# frozen_string_literal: true

require "fileutils"
require "json"

RSpec.describe "transfer cache", :home do
  def cache(...) = transfer("cache", ...)

  # Twice 300 rows of 1,000 numbers, by the training core itself.
  def fill
    system({ "TRANSFER_HOME" => @home, "PYTHONPATH" => File.expand_path("../python", __dir__) },
           ENV.fetch("TRANSFER_PYTHON"), "-c", <<~PYTHON, exception: true)
             import numpy as np
             from transfer_core.features.store import FeatureStore
             for owner in ("a", "b"):
                 FeatureStore().add(owner, [str(i) for i in range(300)], np.zeros((300, 1000), np.float32))
           PYTHON
  end

  def features = "#{@home}/cache/features.sqlite"

  def sql(statement)
    script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit()"
    system(ENV.fetch("TRANSFER_PYTHON"), "-c", script, features, statement, exception: true)
  end

  def rows = JSON.parse(cache("stats", "--json").first)["parts"].first["rows"]

  it "shows the parts, the limit and the size" do
    fill
    out, err, status = cache("stats")
    expect([err, status]).to eq(["", 0])
    today = Time.now.strftime("%F")
    expect(out).to match(/\Afeatures +2\.\d MB  embeddings of images, 600 rows, last used #{today}\n/)
    expect(out).to match(%r{^total +2\.\d MB  of 10\.0 GB, in #{@home}/cache\n})
    expect(out).to end_with("trained models, not part of the cache\n")
  end

  it "prints JSON" do
    fill
    stats = JSON.parse(cache("stats", "--json").first)
    expect(stats).to include("path" => "#{@home}/cache", "limit" => 10_000_000_000, "runs" => 0)
    expect(stats["parts"].map { |part| part.values_at("name", "rows", "files") }).to eq([["features", 600, 1]])
    expect(JSON.parse(cache("clear", "--json").first)).to eq("freed" => stats["bytes"], "left" => 0)
  end

  it "drops damaged rows and files" do
    fill
    sql("UPDATE rows SET content = zeroblob(9) WHERE rowid = 7")
    expect(cache("verify")).to eq(["599 rows are intact, 1 were damaged and are dropped\n", "", 0])
    File.write(features, "hello" * 1000)
    expect(cache("verify")).to eq([<<~TEXT, "", 0])
      0 rows are intact, 0 were damaged and are dropped
      features.sqlite was damaged and is deleted
    TEXT
  end

  it "makes room by size" do
    fill
    expect(cache("prune").first).to match(/\A0 B freed, 2\.\d MB left\n\z/)
    expect(cache("prune", "--max-size", "1.5 MB").first).to match(/\A1\.\d MB freed, 1\.\d MB left\n\z/)
    expect(rows).to eq(300)
  end

  it "makes room by age" do
    fill
    sql("UPDATE batches SET used_at = used_at - #{40 * 86_400} WHERE id = 1")
    expect(cache("prune", "--older-than", "6w").first).to start_with("0 B freed")
    expect(cache("prune", "--older-than", "30d").first).to match(/\A1\.\d MB freed/)
    expect(rows).to eq(300)
  end

  it "deletes the cache and keeps models" do
    fill
    FileUtils.mkdir_p("#{@home}/runs/1")
    File.write("#{@home}/runs/1/model.transfer", "x" * 2000)
    expect(cache("clear").first).to match(/\A2\.\d MB freed, 0 B left\n\z/)
    expect(cache("stats").first).to match(/^runs +2\.0 kB  trained models/)
  end

  {
    %w[clean] => 'unknown command "clean", did you mean "clear"? Try: transfer help cache',
    %w[prune --max-size much] => "--max-size takes a size such as 500MB, got much. Try: transfer help cache prune",
    %w[prune --older-than 30] => "--older-than takes a time such as 30d, got 30. Try: transfer help cache prune",
    %w[clear --older-than 30d] => 'unknown option "--older-than". Try: transfer help cache clear'
  }.each do |argv, message|
    it "rejects `transfer cache #{argv.join(' ')}`" do
      expect(cache(*argv)).to eq(["", "transfer: #{message}\n", 2])
    end
  end

  it "names a wrong limit" do
    ENV["TRANSFER_CACHE_LIMIT"] = "10 apples"
    message = 'transfer: TRANSFER_CACHE_LIMIT is a size such as 10GB or "none", got "10 apples"'
    expect(cache("stats")).to eq(["", "#{message}\n", 4])
  ensure
    ENV.delete("TRANSFER_CACHE_LIMIT")
  end
end

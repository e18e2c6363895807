create role shop login;
create database shop owner shop;
\connect shop
set role shop;
create table orders (number serial primary key, item text not null, done_by text not null);
